/**
 * Pages that are one file: styles, script, charts and pictures inside, nothing fetched. They read in light and dark, on a phone and printed.
 *
 * ```ts
 * const text = page({
 *   title: "digits-1",
 *   intro: "850 iterations",
 *   content: [
 *     tiles([{ label: "bits/dim", value: 1.93, note: "297 held-out images" }]),
 *     section("Losses", columns(
 *       lineChart({ title: "flow", x: { label: "iteration" }, y: { label: "bits/dim", log: true }, series: [{ name: "flow", x: [1, 2], y: [3, 2] }] }),
 *       histogram({ title: "energies", label: "f(x)", series: [{ name: "data", values: [1, 2, 2, 3] }] }),
 *     )),
 *     section("Samples", imageSlider({ alt: "samples", frames: [{ label: "iteration 100", png }] })),
 *     section("Settings", table({ columns: ["field", "value"], rows: [["seed", 0]] }), folded("everything", code(json))),
 *   ],
 * });
 * await writeAtomic(path, new TextEncoder().encode(text));
 * ```
 *
 * Texts are escaped wherever they go in; markup of one's own is made by {@linkcode markup}.
 */
import { type Content, Html, markup } from "./html.ts";
import { SCRIPT } from "./script.ts";
import { STYLE } from "./style.ts";

/** A page. */
export interface PageOptions {
  readonly title: string;
  /** Below the title. */
  readonly intro?: Content;
  readonly content: Content;
}

/** Nothing from anywhere: the browser itself refuses what would be fetched. */
const POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'";

/** The text of an HTML file. */
export function page({ title, intro, content }: PageOptions): string {
  return markup`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>${title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="${POLICY}">
<style>${new Html(STYLE)}</style></head>
<body><main><header><h1>${title}</h1>${intro === undefined ? undefined : markup`<p>${intro}</p>`}</header>
${content}
</main><script>${new Html(SCRIPT)}</script></body></html>
`.text;
}

/** A part of the page with a heading. */
export function section(title: string, ...content: readonly Content[]): Html {
  return markup`<section><h2>${title}</h2>
${content}</section>
`;
}

/** Charts and pictures beside each other where there is room. */
export function columns(...content: readonly Content[]): Html {
  return markup`<div class="columns">${content}</div>`;
}

/** A paragraph. */
export function paragraph(...content: readonly Content[]): Html {
  return markup`<p>${content}</p>`;
}

/** A paragraph that warns. */
export function warning(...content: readonly Content[]): Html {
  return markup`<p class="warning">${content}</p>`;
}

/** Text whose spaces and line breaks are kept. */
export function code(text: string): Html {
  return markup`<pre>${text}</pre>`;
}

/** What is shown when its title is clicked. */
export function folded(title: string, ...content: readonly Content[]): Html {
  return markup`<details><summary>${title}</summary>${content}</details>`;
}
