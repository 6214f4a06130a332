/** Pictures in a page, as data URIs. */
import { Buffer } from "node:buffer";
import { type Content, Html, markup } from "./html.ts";

/** A picture. */
export interface ImageOptions {
  /** The bytes of a PNG file. */
  readonly png: Uint8Array;
  /** What is seen, for those who can't. */
  readonly alt: string;
  readonly caption?: Content;
}

/** One picture with a caption. Enlarged pixels keep their edges. */
export function imageFigure({ png, alt, caption }: ImageOptions): Html {
  return markup`<figure class="picture">${image(png, alt)}${
    caption === undefined ? undefined : markup`<figcaption>${caption}</figcaption>`
  }</figure>`;
}

/** One of a series of pictures. */
export interface Frame {
  /** Beside the slider while the picture shows. */
  readonly label: string;
  readonly png: Uint8Array;
}

/** A series of pictures. */
export interface ImageSliderOptions {
  readonly frames: readonly Frame[];
  /** What is seen in each. */
  readonly alt: string;
  readonly caption?: Content;
}

/** A series of pictures with a slider, at the last one when the page opens. */
export function imageSlider({ frames, alt, caption }: ImageSliderOptions): Html {
  const last = frames.length - 1;
  const pictures = frames.map(({ label, png }, i) =>
    markup`<div data-label="${label}"${hidden(i !== last)}>${image(png, `${alt}: ${label}`)}</div>\n`
  );
  const [max, first] = [String(last), frames[last]?.label ?? ""];
  return markup`<figure class="picture slider"><label><input type="range" min="0" max="${max}" value="${max}" step="1"><output>${first}</output></label>
${pictures}${caption === undefined ? undefined : markup`<figcaption>${caption}</figcaption>`}</figure>`;
}

function hidden(yes: boolean): Html {
  return new Html(yes ? " hidden" : "");
}

function image(png: Uint8Array, alt: string): Html {
  const data = Buffer.from(png.buffer, png.byteOffset, png.byteLength).toString("base64");
  return markup`<img src="data:image/png;base64,${new Html(data)}" alt="${alt}">`;
}
