/** Markup that is safe to put into a page: every text is escaped where it enters. */

/** A piece of markup. Made by {@linkcode markup}, and by the functions of this folder. */
export class Html {
  /** @param text taken as it is; what is of unknown origin goes through {@linkcode markup} */
  constructor(readonly text: string) {}
}

/** What may stand in a template: texts and numbers are escaped, markup is not, lists are joined, `undefined` is nothing. */
export type Content = string | number | Html | undefined | readonly Content[];

const ESCAPES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/** Text for an element's content or a quoted attribute. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ESCAPES[character] ?? character);
}

/** Markup with its values escaped: `` markup`<p>${text}</p>` ``. */
export function markup(strings: TemplateStringsArray, ...values: readonly Content[]): Html {
  return new Html(strings.reduce((all, part, i) => all + markupOf(values[i - 1]) + part));
}

function markupOf(value: Content): string {
  if (value === undefined) return "";
  if (value instanceof Html) return value.text;
  if (typeof value === "object") return value.map(markupOf).join("");
  return escapeHtml(typeof value === "number" ? formatNumber(value) : value);
}

/** Data for a script of the page, in an element that no text can close. */
export function jsonScript(value: unknown): Html {
  return new Html(`<script type="application/json">${JSON.stringify(value).replaceAll("<", "\\u003c")}</script>`);
}

/** A number for people: four digits that matter, 12,345 and 1.5e-7 where plain digits would be long. */
export function formatNumber(value: number): string {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "not a number" : value > 0 ? "∞" : "−∞";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size < 1e-3 || size >= 1e9) return value.toExponential(2).replace(/\.?0*e\+?/, "e").replaceAll("-", "−");
  const digits = Number.isInteger(value) ? {} : { maximumSignificantDigits: size >= 1e4 ? 6 : 4 };
  return value.toLocaleString("en-US", digits).replace("-", "−");
}
