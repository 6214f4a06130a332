/** How good a model's samples are, measured against images that it has never seen. */
import type { Dataset } from "../data/dataset.ts";
import { imageElements, readAll } from "../data/dataset.ts";
import { pixelFrechetDistance, pixelMomentsOf } from "../metrics/pixel_frechet.ts";
import { uniforms } from "../random.ts";
import type { Report } from "./events.ts";
import type { CoopFlow } from "./model.ts";

/** Options of {@linkcode measure}. */
export interface MeasureOptions {
  /** Images of each kind. Default 1,500. */
  readonly count?: number;
  readonly signal?: AbortSignal;
}

/** Beyond this many values an image, raw pixels say little and their covariance takes minutes. */
const MOST_DIMENSIONS = 256;

/** Whether {@linkcode measure} suits images of this size. */
export function isMeasurable(heldout: Dataset): boolean {
  return imageElements(heldout) <= MOST_DIMENSIONS && heldout.count > 1;
}

/**
 * Fréchet distances of raw pixels between held-out images and as many each of uniform noise, proposals and revised images; and the flow's
 * bits per dimension on the held-out images.
 */
export async function measure(model: CoopFlow, heldout: Dataset, options: MeasureOptions = {}): Promise<Report> {
  const { count = 1500, signal } = options;
  const cancel = signal === undefined ? {} : { signal };
  const reference = pixelMomentsOf(heldout);
  const { images, proposals } = await model.sample(count, cancel);
  const size = imageElements(heldout);
  const noise = new Float32Array(count * size);
  for (let i = 0; i < count; i++) {
    noise.set(uniforms(model.config.seed, "report/noise", size, { sample: i }).map((u) => 2 * u - 1), i * size);
  }
  const { bitsPerDim } = await model.density(readAll(heldout), cancel);
  const distance = (x: Float32Array): number => pixelFrechetDistance(x, count, reference);
  return {
    count,
    heldout: heldout.count,
    frechet: { noise: distance(noise), proposals: distance(proposals), revised: distance(images) },
    bitsPerDim: bitsPerDim.reduce((sum, bits) => sum + bits, 0) / bitsPerDim.length,
  };
}
