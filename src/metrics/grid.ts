/** Pictures of many images: grids side by side, enlarged so that small images can be judged by eye. */

import { DataError } from "../errors.ts";
import { imageElements, type ImageSize } from "../data/dataset.ts";
import type { Pixels, PixelSize } from "../io/png.ts";

/** One grid of images. */
export interface GridPanel extends ImageSize {
  /** [count, height, width, channels] values in [−1, 1]; channels 1 or 3. */
  readonly images: Float32Array;
  readonly count: number;
}

/** How to lay panels out. Sizes in pixels of the picture. */
export interface GridOptions {
  /** Images per row of a panel. Default: as square as the largest panel allows. */
  readonly columns?: number;
  /** Enlargement, every pixel a scale×scale square. Default: images become at least 40 pixels high. */
  readonly scale?: number;
  /** Space between images and around them. Default 2. */
  readonly spacing?: number;
  /** Width of the band between panels, with a line in its middle. Default 12. */
  readonly panelGap?: number;
}

const DEFAULT_MIN_HEIGHT = 40;
const DEFAULT_SPACING = 2;
const DEFAULT_PANEL_GAP = 12;
const BACKGROUND = 48;
const SEPARATOR = 200;

/**
 * Lays out panels from left to right, images in reading order. Grey unless a panel has colours.
 *
 * @throws {DataError} if there is nothing to show, sizes do not fit, or a value is not finite
 */
export function imageGrid(panels: readonly GridPanel[], options: GridOptions = {}): Pixels {
  const [first] = panels;
  if (first === undefined) throw new DataError("expected at least one panel of images, got none");
  for (const panel of panels) checkPanel(panel);
  const scale = positive(
    options.scale ?? Math.ceil(DEFAULT_MIN_HEIGHT / Math.max(...panels.map((panel) => panel.height))),
    "scale",
  );
  const most = Math.max(...panels.map((panel) => panel.count));
  const columns = positive(options.columns ?? Math.ceil(Math.sqrt(most)), "columns");
  const spacing = nonNegative(options.spacing ?? DEFAULT_SPACING, "spacing");
  const gap = nonNegative(options.panelGap ?? DEFAULT_PANEL_GAP, "panelGap");

  const widths = panels.map((panel) => spacing + Math.min(columns, panel.count) * (panel.width * scale + spacing));
  const heights = panels.map((panel) => spacing + Math.ceil(panel.count / columns) * (panel.height * scale + spacing));
  const width = widths.reduce((sum, panel) => sum + panel, gap * (panels.length - 1));
  const height = Math.max(...heights);
  const channels = panels.some((panel) => panel.channels === 3) ? 3 : 1;
  const data = new Uint8Array(width * height * channels).fill(BACKGROUND);
  const picture: Pixels = { width, height, channels, data };

  let left = 0;
  for (const [index, panel] of panels.entries()) {
    if (index > 0) {
      if (gap > 0) drawSeparator(picture, left + Math.floor(gap / 2));
      left += gap;
    }
    for (let image = 0; image < panel.count; image++) {
      const x = left + spacing + (image % columns) * (panel.width * scale + spacing);
      const y = spacing + Math.floor(image / columns) * (panel.height * scale + spacing);
      drawImage(picture, panel, image, x, y, scale);
    }
    left += widths[index] ?? 0;
  }
  return picture;
}

/** Grids side by side whose images are fetched when their turn comes. */
export interface GridSource extends ImageSize {
  /** Images of each grid. */
  readonly count: number;
  /** Number of grids. */
  readonly panels: number;
  /** Images `first` … `first` + `count` − 1 of one of the grids. */
  readonly read: (panel: number, first: number, count: number) => Promise<Float32Array>;
}

/** A picture that comes in parts. */
export interface GridBands extends PixelSize {
  /** Its rows of pixels, from top to bottom. */
  readonly bands: AsyncIterable<Uint8Array>;
}

/** The picture that {@linkcode imageGrid} makes of the same images with its usual layout, without ever holding all of it. */
export function gridBands(source: GridSource): GridBands {
  const { count, panels, height: size, width, channels } = source;
  const columns = Math.ceil(Math.sqrt(count));
  const elements = imageElements(source);
  const row = async (first: number): Promise<Pixels> => {
    const filled = Math.min(columns, count - first);
    const grids: GridPanel[] = [];
    for (let panel = 0; panel < panels; panel++) {
      // Images that the last row lacks are drawn as background.
      const images = new Float32Array(columns * elements).fill(BACKGROUND / 127.5 - 1);
      images.set(await source.read(panel, first, filled));
      grids.push({ images, count: columns, height: size, width, channels });
    }
    return imageGrid(grids, { columns });
  };
  const scale = Math.ceil(DEFAULT_MIN_HEIGHT / size);
  const rows = Math.ceil(count / columns);
  const panelWidth = DEFAULT_SPACING + columns * (width * scale + DEFAULT_SPACING);
  const picture: PixelSize = {
    width: panels * panelWidth + (panels - 1) * DEFAULT_PANEL_GAP,
    height: DEFAULT_SPACING + rows * (size * scale + DEFAULT_SPACING),
    channels: channels === 3 ? 3 : 1,
  };
  async function* bands(): AsyncGenerator<Uint8Array> {
    for (let r = 0; r < rows; r++) {
      const { data } = await row(r * columns);
      // The space above a row is the space below the one before it.
      yield r === 0 ? data : data.subarray(DEFAULT_SPACING * picture.width * picture.channels);
    }
  }
  return { ...picture, bands: bands() };
}

function drawSeparator(picture: Pixels, x: number): void {
  for (let y = 0; y < picture.height; y++) {
    const start = (y * picture.width + x) * picture.channels;
    picture.data.fill(SEPARATOR, start, start + picture.channels);
  }
}

function drawImage(picture: Pixels, panel: GridPanel, image: number, x: number, y: number, scale: number): void {
  const start = image * imageElements(panel);
  for (let row = 0; row < panel.height * scale; row++) {
    for (let column = 0; column < panel.width * scale; column++) {
      const pixel = Math.floor(row / scale) * panel.width + Math.floor(column / scale);
      const to = ((y + row) * picture.width + x + column) * picture.channels;
      for (let c = 0; c < picture.channels; c++) {
        // A grey panel beside a coloured one shows its one channel three times.
        const value = panel.images[start + pixel * panel.channels + Math.min(c, panel.channels - 1)] ?? 0;
        picture.data[to + c] = toByte(value);
      }
    }
  }
}

/** [−1, 1] → 0 … 255, rounded; values beyond are clamped. */
function toByte(value: number): number {
  return Math.round(Math.min(1, Math.max(0, (value + 1) / 2)) * 255);
}

function checkPanel(panel: GridPanel): void {
  const { images, count, height, width, channels } = panel;
  if (channels !== 1 && channels !== 3) throw new DataError(`expected images of 1 or 3 channels, got ${channels}`);
  if (!Number.isInteger(count) || count < 1) {
    throw new DataError(`expected at least one image in a panel, got ${count}`);
  }
  if (images.length !== count * height * width * channels) {
    throw new DataError(
      `expected ${count} images of ${height}×${width}×${channels} values in a panel, got ${images.length} values`,
    );
  }
  const bad = images.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0) {
    const image = Math.floor(bad / imageElements(panel));
    throw new DataError(`expected finite pixels, found ${images[bad]} in image ${image} of a panel`);
  }
}

function positive(value: number, what: string): number {
  if (Number.isInteger(value) && value > 0) return value;
  throw new DataError(`expected ${what} to be a positive integer, got ${value}`);
}

function nonNegative(value: number, what: string): number {
  if (Number.isInteger(value) && value >= 0) return value;
  throw new DataError(`expected ${what} to be a non-negative integer, got ${value}`);
}
