/** Tables, facts and large figures. */
import { type Content, Html, markup } from "./html.ts";

/** A table. Columns of numbers alone stand to the right. */
export interface TableOptions {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly Content[])[];
  readonly caption?: Content;
}

/** A table that scrolls by itself where it is wider than the page. */
export function table({ columns, rows, caption }: TableOptions): Html {
  const numeric = columns.map((_, k) => rows.length > 0 && rows.every((row) => isNumeric(row[k])));
  const side = (k: number): Html => new Html(numeric[k] === true ? ` class="n"` : "");
  const head = columns.map((name, k) => markup`<th scope="col"${side(k)}>${name}</th>`);
  const body = rows.map((row) => markup`<tr>${columns.map((_, k) => markup`<td${side(k)}>${row[k]}</td>`)}</tr>\n`);
  const above = caption === undefined ? undefined : markup`<caption>${caption}</caption>`;
  return markup`<div class="wide"><table>${above}
<thead><tr>${head}</tr></thead>
<tbody>${body}</tbody></table></div>`;
}

/** A number and what is apart from it, such as a unit or brackets: no hash that begins with a digit. */
const NUMBER = /^[−+-]?\d[\d.,]*(e[−+-]?\d+)?(?![0-9A-Za-z])/;

/** Numbers, also with a unit or in brackets behind them, and cells without anything. */
function isNumeric(cell: Content): boolean {
  if (cell === undefined || typeof cell === "number") return true;
  return typeof cell === "string" && (/^–?$/.test(cell) || NUMBER.test(cell));
}

/** Names with what they stand for, in as many columns as there is room for. */
export function facts(entries: Iterable<readonly [name: string, value: Content]>): Html {
  return markup`<dl>${
    Array.from(entries, ([name, value]) => markup`<div><dt>${name}</dt><dd>${value}</dd></div>\n`)
  }</dl>`;
}

/** A number that stands out. */
export interface Tile {
  readonly label: string;
  readonly value: Content;
  /** Below the number: its interval, the count that it was made from. */
  readonly note?: Content;
}

/** Large figures side by side. */
export function tiles(items: readonly Tile[]): Html {
  return markup`<div class="tiles">${
    items.map(({ label, value, note }) =>
      markup`<div><span>${label}</span><b>${value}</b><small>${note}</small></div>\n`
    )
  }</div>`;
}
