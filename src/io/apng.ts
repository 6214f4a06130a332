/** Animated PNG files: browsers play them; what knows only PNG shows the first frame. */

import { DataError } from "../errors.ts";
import { writeAtomic } from "./atomic.ts";
import { compressPixels, joined, type Pixels, pngChunk, pngEnd, pngStart } from "./png.ts";

/** How an animation plays. */
export interface AnimationOptions {
  /** Milliseconds that each frame is shown. Default 100. */
  readonly delay?: number;
  /** Milliseconds that the last frame is shown. Default 1,500. */
  readonly lastDelay?: number;
}

/**
 * Encodes frames of one size as an animated PNG that repeats for ever.
 *
 * @throws {DataError} if there are no frames, or of different sizes
 */
export function encodeApng(frames: readonly Pixels[], options: AnimationOptions = {}): Uint8Array<ArrayBuffer> {
  const { delay = 100, lastDelay = 1500 } = options;
  const [first] = frames;
  if (first === undefined) throw new DataError("expected at least one frame, got none");
  const { width, height, channels } = first;
  const parts: Uint8Array[] = [pngStart(first), animationControl(frames.length)];
  let sequence = 0;
  for (const [index, frame] of frames.entries()) {
    if (frame.width !== width || frame.height !== height || frame.channels !== channels) {
      const found = `${frame.width}×${frame.height}×${frame.channels}`;
      throw new DataError(`frame ${index}: expected ${width}×${height}×${channels} as the first, got ${found}`);
    }
    const shown = index === frames.length - 1 ? lastDelay : delay;
    parts.push(frameControl(sequence++, width, height, shown));
    const data = compressPixels(frame);
    parts.push(index === 0 ? pngChunk("IDAT", data) : pngChunk("fdAT", joined([words(sequence++), data])));
  }
  return joined([...parts, pngEnd()]);
}

/**
 * Writes an animated PNG, atomically.
 *
 * @throws as {@linkcode encodeApng} and {@linkcode writeAtomic}
 */
export async function writeApng(
  path: string,
  frames: readonly Pixels[],
  options: AnimationOptions = {},
): Promise<void> {
  await writeAtomic(path, encodeApng(frames, options));
}

/** Number of frames, and of repetitions: 0 = for ever. */
function animationControl(frames: number): Uint8Array {
  return pngChunk("acTL", words(frames, 0));
}

/** A frame's place (all of the picture), and how long it is shown, in thousandths of a second. */
function frameControl(sequence: number, width: number, height: number, delay: number): Uint8Array {
  const content = new Uint8Array(26);
  content.set(words(sequence, width, height, 0, 0));
  const view = new DataView(content.buffer);
  view.setUint16(20, delay);
  view.setUint16(22, 1000);
  return pngChunk("fcTL", content);
}

/** Big-endian 32-bit words. */
function words(...values: readonly number[]): Uint8Array {
  const out = new Uint8Array(4 * values.length);
  const view = new DataView(out.buffer);
  values.forEach((value, i) => view.setUint32(4 * i, value));
  return out;
}
