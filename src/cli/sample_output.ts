/** Where samples go: files that are added to batch by batch and gone on with after an interruption. */
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { UsageError } from "../errors.ts";
import type { CoopFlow } from "../coopflow/model.ts";
import type { SampleBatch } from "../coopflow/sampling.ts";
import { syncFolder, writeAtomic } from "../io/atomic.ts";
import { type PixelSize, pngStart, writePng, writePngBands } from "../io/png.ts";
import { beginsWith, isWritten, type StreamContent, TensorStream } from "../io/safetensors_stream.ts";
import { gridBands, imageGrid } from "../metrics/grid.ts";

/** What samples depend on: files of other samples are not mixed with them. */
export interface SampleOrigin {
  /** Checksum of the model. */
  readonly model: string;
  readonly iteration: number;
  readonly seed: number;
  readonly parameters: "live" | "averaged";
}

/** An output. Close it, or declare it with `await using`. */
export interface SampleOutput extends AsyncDisposable {
  /** Images that are there already, from image 0 on. */
  readonly done: number;
  /** Takes the images from {@linkcode done} on; told in order. */
  add(batch: SampleBatch): Promise<void>;
  /** All images are there. */
  finish(): Promise<void>;
}

/** What to write. */
export interface SampleWish {
  readonly out: string;
  readonly count: number;
  readonly origin: SampleOrigin;
  /** Proposals too: in files of their own, or beside the revised images. */
  readonly proposals: boolean;
}

const KINDS = ["images", "proposals"] as const;
type Kind = typeof KINDS[number];

/** Pictures that are encoded and written at a time. */
const AT_ONCE = 16;
const DIGITS = 6;
const ORIGIN_FILE = "samples.json";

function pictureName(kind: Kind, index: number): string {
  return `${kind === "images" ? "image" : "proposal"}_${String(index).padStart(DIGITS, "0")}.png`;
}

/**
 * A folder with a PNG file of each image, and `samples.json`, which says what they depend on.
 *
 * @throws {UsageError} if there are images of something else
 */
export async function folderOutput({ out, count, origin, proposals }: SampleWish): Promise<SampleOutput> {
  const kinds: readonly Kind[] = proposals ? KINDS : ["images"];
  const names = new Set(await readdir(out));
  const text = `${JSON.stringify(origin)}\n`;
  const found = names.has(ORIGIN_FILE) ? await readFile(join(out, ORIGIN_FILE), "utf8") : undefined;
  if (found !== text) {
    const other = found !== undefined || [...names].some((name) => /^(image|proposal)_\d+\.png$/.test(name));
    if (other) {
      throw new UsageError(
        `--out: expected a new folder, or one with images of the same model and seed, found others in ${out}; choose another`,
      );
    }
    await writeAtomic(join(out, ORIGIN_FILE), new TextEncoder().encode(text));
  }
  // A power cut may have left files without their content.
  const isThere = async (name: string): Promise<boolean> => names.has(name) && (await stat(join(out, name))).size > 0;
  let done = 0;
  const complete = async (index: number): Promise<boolean> => {
    for (const kind of kinds) if (!await isThere(pictureName(kind, index))) return false;
    return true;
  };
  while (done < count && await complete(done)) done++;
  return {
    done,
    async add({ first, count: n, height, width, channels, ...batch }) {
      const size = height * width * channels;
      const files = kinds.flatMap((kind) => Array.from({ length: n }, (_, i) => [kind, i] as const));
      for (let at = 0; at < files.length; at += AT_ONCE) {
        await Promise.all(
          files.slice(at, at + AT_ONCE).map(async ([kind, i]) => {
            const images = batch[kind].subarray(i * size, (i + 1) * size);
            const pixels = imageGrid([{ height, width, channels, count: 1, images }], { scale: 1, spacing: 0 });
            await writePng(join(out, pictureName(kind, first + i)), pixels, { sync: false });
          }),
        );
      }
    },
    finish: () => syncFolder(out),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

/** An output that holds all images already. */
function nothingLeft(count: number): SampleOutput {
  return {
    done: count,
    add: () => Promise.resolve(),
    finish: () => Promise.resolve(),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

function contentOf(model: CoopFlow, { count, origin }: SampleWish, kinds: readonly Kind[]): StreamContent {
  const { height, width, channels, levels } = model.config.data;
  return {
    rows: new Map(kinds.map((kind) => [kind, [height, width, channels]])),
    count,
    metadata: new Map([["layout", "N,H,W,C"], ["levels", String(levels)], ["origin", JSON.stringify(origin)]]),
  };
}

function rowsOf(batch: SampleBatch): Map<string, Float32Array> {
  return new Map(KINDS.map((kind) => [kind, batch[kind]]));
}

/** A safetensors file with `images` and `proposals` [count, height, width, channels]. */
export async function tensorOutput(model: CoopFlow, wish: SampleWish): Promise<SampleOutput> {
  const content = contentOf(model, wish, KINDS);
  if (await isWritten(wish.out, content)) return nothingLeft(wish.count);
  const stream = await TensorStream.open(wish.out, content);
  return {
    get done() {
      return stream.done;
    },
    add: (batch) => stream.write(rowsOf(batch)),
    finish: () => stream.finish(),
    [Symbol.asyncDispose]: () => stream[Symbol.asyncDispose](),
  };
}

/** One PNG file with all images, or proposals | revised images; until all are there they wait in a file beside it. */
export async function pictureOutput(model: CoopFlow, wish: SampleWish): Promise<SampleOutput> {
  const { out, count, origin, proposals } = wish;
  const kinds: readonly Kind[] = proposals ? ["proposals", "images"] : ["images"];
  const { height, width, channels } = model.config.data;
  const grid = (read: (panel: number, first: number, n: number) => Promise<Float32Array>) =>
    gridBands({ count, panels: kinds.length, height, width, channels, read });
  const comment = `coopflow ${JSON.stringify({ ...origin, count, proposals })}`;
  const size: PixelSize = grid(() => Promise.reject(new Error("not yet")));
  if (await beginsWith(out, pngStart(size, comment))) return nothingLeft(count);
  const stream = await TensorStream.open(out, contentOf(model, wish, kinds));
  return {
    get done() {
      return stream.done;
    },
    add: (batch) => stream.write(rowsOf(batch)),
    async finish() {
      const { bands, ...picture } = grid((panel, first, n) => stream.read(kinds[panel]!, first, n));
      await writePngBands(out, picture, bands, comment);
      await stream.discard();
    },
    [Symbol.asyncDispose]: () => stream[Symbol.asyncDispose](),
  };
}
