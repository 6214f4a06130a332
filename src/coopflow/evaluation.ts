/** How good a model is: likelihoods, distances of its samples to real images, energies, reconstruction. */
import { DataError, UsageError } from "../errors.ts";
import { type Dataset, imageElements, type ImageSize, readImages } from "../data/dataset.ts";
import { uniformNoise } from "../data/derived.ts";
import { type Interval, meanInterval } from "../metrics/bootstrap.ts";
import { type FeatureExtractor, pixelFeatures } from "../metrics/extractors.ts";
import { FeatureFile, type FeatureSet, firstOf } from "../metrics/features.ts";
import type { Moments } from "../metrics/moments.ts";
import { nearest } from "../metrics/neighbours.ts";
import type { Products } from "../metrics/products.ts";
import {
  frechetInterval,
  kernelInterval,
  type ManifoldIntervals,
  manifoldIntervals,
  manifoldRadii,
  type Resampled,
  resampled,
} from "../metrics/set_distances.ts";
import { GENERATED, type Generated, type Metric, METRICS } from "./metric_names.ts";
import type { CoopFlow } from "./model.ts";
import { displayedEvaluation } from "./notebook.ts";
import { PairProducts } from "./pair_products.ts";
import { RECONSTRUCTION } from "./search_defaults.ts";

/** Options of {@linkcode evaluate}. */
export interface EvaluateOptions {
  /** Images of each generated kind. Default: as many as there are real ones, at least 1,000. */
  readonly count?: number;
  /** Seed of samples and resamples. Default: the configuration's. */
  readonly seed?: number;
  /** Default: all; `nearest` needs `train`. */
  readonly metrics?: readonly Metric[];
  /** Features beside the pixels. */
  readonly extractors?: readonly FeatureExtractor[];
  /** Images that the model has seen, for nearest neighbours. */
  readonly train?: Dataset;
  /** Moments that stand for the real images in the Fréchet distance of the first extractor, or of the pixels where none is given. */
  readonly statistics?: Moments;
  /** Resamples of each Fréchet distance. Default: fewer the more features there are, none above 512. */
  readonly resamples?: number;
  /** Neighbours that give a ball its size in precision, recall, density and coverage. Default 5. */
  readonly neighbours?: number;
  /** Images that are reconstructed. Default 16: each takes as long as thousands of samples. */
  readonly reconstructed?: number;
  readonly liveParameters?: boolean;
  readonly signal?: AbortSignal;
  /** Told what is being done, and how far it is. */
  readonly onProgress?: (what: string, done: number, total: number) => void;
}

/** Distances of one kind of images to the real ones, by one kind of features. */
export interface Distances {
  readonly features: string;
  readonly preparation: string;
  /** What these features' Fréchet and kernel distances are called. */
  readonly names: FeatureExtractor["distances"];
  readonly dimension: number;
  readonly generated: Generated;
  /** Images of each kind. */
  readonly count: number;
  readonly real: number;
  /** The squared Fréchet distance of the features' Gaussians. */
  readonly frechet?: Interval;
  /** The unbiased kernel distance, mean over subsets of `size`. */
  readonly kernel?: Interval & { readonly size: number };
  readonly manifold?: ManifoldIntervals;
}

/** What {@linkcode evaluate} found. */
export interface Evaluation {
  readonly iteration: number;
  readonly seed: number;
  /** T of the chains that revised. */
  readonly steps: number;
  readonly reference: { readonly name: string; readonly count: number };
  /** The flow's bits per dimension on the real images: one draw of dequantization noise. */
  readonly bitsPerDim?: Interval;
  readonly distances: readonly Distances[];
  /** Moments of the real images in the features that {@linkcode EvaluateOptions.statistics} stand for. */
  readonly statistics?: Moments;
  /** f(x) of each image: larger = more likely. */
  readonly energies?: Readonly<Record<"real" | Generated, Float32Array<ArrayBuffer>>>;
  readonly nearest?: NearestImages;
  /** Peak signal-to-noise ratio of real images found again as ends of chains, in dB. */
  readonly reconstruction?: { readonly psnr: Interval; readonly count: number; readonly iterations: number };
}

/** Revised images and the training images closest to them, by pixels. */
export interface NearestImages {
  readonly images: Float32Array<ArrayBuffer>;
  readonly neighbours: Float32Array<ArrayBuffer>;
  readonly count: number;
  readonly size: ImageSize;
  /** Mean distance (pixels from 0 to 1) of revised images to their nearest training image. */
  readonly distance: Interval;
  /** The same of held-out images: revised images that are much closer are copies. */
  readonly heldout: Interval;
}

const LEAST_IMAGES = 1000;
/** More vectors of each set take too long to compare all with all. */
const MOST_COMPARED = 5000;
const SHOWN_NEIGHBOURS = 32;
/** Images whose nearest training image is looked for. */
const MOST_NEAREST = 1000;
const READ_AT_ONCE = 256;

/** Feature vectors of one kind of images, one file an extractor. */
type Spilled = readonly FeatureFile[];

/**
 * Evaluates a model against real images that it has not seen. Images and features are not kept in memory: features go to temporary files.
 *
 * @param reference real images, held-out ones
 * @throws {DataError} if there are too few images for a figure
 * @throws {UsageError} for options out of range
 */
export async function evaluate(
  model: CoopFlow,
  reference: Dataset,
  options: EvaluateOptions = {},
): Promise<Evaluation> {
  const { seed = model.config.seed, metrics = METRICS, extractors = [], neighbours = 5, statistics } = options;
  const count = options.count ?? Math.max(LEAST_IMAGES, reference.count);
  for (const [name, value] of Object.entries({ count, neighbours })) {
    if (!Number.isSafeInteger(value) || value < 2) {
      throw new UsageError(`${name}: expected a whole number of at least 2, found ${value}`);
    }
  }
  const has = (metric: Metric): boolean => metrics.includes(metric);
  if (has("manifold") && Math.min(count, reference.count) <= neighbours) {
    throw new DataError(`expected more than ${neighbours} images of each kind, found ${reference.count} real ones`);
  }
  const all = [pixelFeatures(reference), ...extractors];
  using files = new DisposableStack();
  const spill = (): Spilled => all.map(({ dimension }) => files.use(FeatureFile.create(dimension)));
  const sets = { real: spill(), noise: spill(), proposals: spill(), revised: spill() };
  const scores = await run(model, reference, {
    ...options,
    count,
    seed,
    all,
    sets,
    scored: has("energies") || has("likelihood"),
  });

  const distances: Distances[] = [];
  let realMoments: Moments | undefined;
  using pairs = PairProducts.open({ device: "cpu", threads: model.device.threads });
  const { products } = pairs;
  if (has("distances") || has("manifold")) {
    for (const [e, extractor] of all.entries()) {
      const real = sets.real[e]!;
      const isStated = e === (extractors.length > 0 ? 1 : 0);
      const exact = isStated ? statistics : undefined;
      const moments: Resampled | Moments | undefined = has("distances")
        ? exact ?? resampled(real, options.resamples)
        : undefined;
      if (isStated && moments !== undefined) realMoments = "moments" in moments ? moments.moments : moments;
      const size = { k: neighbours, most: MOST_COMPARED, products };
      const balls = has("manifold") ? { ...size, radii: await manifoldRadii(real, size) } : undefined;
      for (const [g, generated] of GENERATED.entries()) {
        options.onProgress?.(`distances of ${extractor.name}`, g, GENERATED.length);
        options.signal?.throwIfAborted();
        distances.push({
          features: extractor.name,
          preparation: extractor.preparation,
          names: extractor.distances,
          dimension: extractor.dimension,
          generated,
          count,
          real: real.count,
          ...await measured(sets[generated][e]!, real, moments, {
            seed,
            products,
            resamples: options.resamples,
            balls,
          }),
        });
      }
      options.onProgress?.(`distances of ${extractor.name}`, GENERATED.length, GENERATED.length);
    }
  }
  const { train } = options;
  return displayedEvaluation({
    iteration: model.counters.iteration,
    seed,
    steps: model.config.langevin.steps,
    reference: { name: reference.name, count: reference.count },
    ...(has("likelihood") ? { bitsPerDim: meanInterval(scores.bitsPerDim, seed, "bootstrap bits/dim") } : {}),
    distances,
    ...(realMoments === undefined ? {} : { statistics: realMoments }),
    ...(has("energies") ? { energies: scores.energies } : {}),
    ...(has("nearest") && train !== undefined
      ? { nearest: await neighboursOf(train, sets, all[0]!, scores.shown, { seed, products }) }
      : {}),
    ...(has("reconstruction") ? { reconstruction: await reconstruction(model, reference, { ...options, seed }) } : {}),
  });
}

async function measured(
  set: FeatureSet,
  real: FeatureSet,
  moments: Resampled | Moments | undefined,
  { seed, resamples, balls, products }: {
    readonly seed: number;
    readonly products: Products;
    readonly resamples: number | undefined;
    readonly balls: { readonly k: number; readonly most: number; readonly radii: Float64Array } | undefined;
  },
): Promise<Pick<Distances, "frechet" | "kernel" | "manifold">> {
  return {
    ...(moments === undefined ? {} : {
      frechet: frechetInterval(resampled(set, resamples), moments, seed, resamples),
      kernel: await kernelInterval(set, real, seed, products),
    }),
    ...(balls === undefined ? {} : { manifold: await manifoldIntervals(set, real, { ...balls, seed }, balls.radii) }),
  };
}

interface Scores {
  readonly bitsPerDim: Float32Array<ArrayBuffer>;
  readonly energies: Record<"real" | Generated, Float32Array<ArrayBuffer>>;
  /** The first revised images. */
  readonly shown: Float32Array<ArrayBuffer>;
}

/** Goes through all images once: features to files, scores to memory. */
async function run(
  model: CoopFlow,
  reference: Dataset,
  options: EvaluateOptions & {
    readonly count: number;
    readonly seed: number;
    readonly all: readonly FeatureExtractor[];
    readonly sets: Readonly<Record<"real" | Generated, Spilled>>;
    readonly scored: boolean;
  },
): Promise<Scores> {
  const { count, seed, all, sets, scored, onProgress, signal, liveParameters = false } = options;
  const how = { seed, liveParameters, ...(signal === undefined ? {} : { signal }) };
  const bitsPerDim = new Float32Array(reference.count);
  const energies = {
    real: new Float32Array(reference.count),
    noise: new Float32Array(count),
    proposals: new Float32Array(count),
    revised: new Float32Array(count),
  };
  const take = async (kind: "real" | Generated, images: Float32Array, first: number, n: number): Promise<void> => {
    for (const [e, extractor] of all.entries()) sets[kind][e]!.append(await extractor.extract(images, n));
    if (!scored) return;
    const densities = await model.density(images, { ...how, first });
    energies[kind].set(densities.energies, first);
    if (kind === "real") bitsPerDim.set(densities.bitsPerDim, first);
  };
  const { batch } = model.config.training;
  const through = async (kind: "real" | "noise", data: Dataset, total: number): Promise<void> => {
    for (let first = 0; first < total; first += batch) {
      const n = Math.min(batch, total - first);
      await take(kind, readImages(data, first, n), first, n);
      onProgress?.(kind === "real" ? "real images" : "noise", first + n, total);
    }
  };
  await through("real", reference, reference.count);
  const { height, width, channels, levels } = reference;
  await through("noise", uniformNoise({ height, width, channels, levels, count }, seed), count);
  const shown = new Float32Array(Math.min(count, SHOWN_NEIGHBOURS) * imageElements(reference));
  for await (const { first, count: n, proposals, images } of model.samples(count, how)) {
    const at = first * imageElements(reference);
    if (at < shown.length) shown.set(images.subarray(0, shown.length - at), at);
    await take("proposals", proposals, first, n);
    await take("revised", images, first, n);
    onProgress?.("samples", first + n, count);
  }
  return { bitsPerDim, energies, shown };
}

async function neighboursOf(
  train: Dataset,
  sets: Readonly<Record<"real" | Generated, Spilled>>,
  pixels: FeatureExtractor,
  shown: Float32Array<ArrayBuffer>,
  { seed, products }: { readonly seed: number; readonly products: Products },
): Promise<NearestImages> {
  using seen = FeatureFile.create(pixels.dimension);
  for (let first = 0; first < train.count; first += READ_AT_ONCE) {
    const n = Math.min(READ_AT_ONCE, train.count - first);
    seen.append(await pixels.extract(readImages(train, first, n), n));
  }
  const [revised, real] = [sets.revised[0]!, sets.real[0]!];
  const found = await nearest(firstOf(revised, MOST_NEAREST), seen, products);
  const ofHeldout = await nearest(firstOf(real, MOST_NEAREST), seen, products);
  const size = imageElements(train);
  const count = shown.length / size;
  const neighbours = new Float32Array(count * size);
  for (let i = 0; i < count; i++) train.read(found.indices[i]!, neighbours, i * size);
  return {
    images: shown,
    neighbours,
    count,
    size: { height: train.height, width: train.width, channels: train.channels },
    distance: meanInterval(found.distances, seed, "bootstrap nearest"),
    heldout: meanInterval(ofHeldout.distances, seed, "bootstrap nearest held-out"),
  };
}

async function reconstruction(
  model: CoopFlow,
  reference: Dataset,
  options: EvaluateOptions & { readonly seed: number },
): Promise<NonNullable<Evaluation["reconstruction"]>> {
  const { seed, signal, liveParameters = false, reconstructed = 16, onProgress } = options;
  const count = Math.min(reconstructed, reference.count);
  const { psnr } = await model.reconstruct(readImages(reference, 0, count), {
    seed,
    liveParameters,
    ...(signal === undefined ? {} : { signal }),
    onStep: ({ done, total }) => onProgress?.("reconstruction", done, total),
  });
  const { iterations } = RECONSTRUCTION;
  return { psnr: meanInterval(psnr, seed, "bootstrap reconstruction"), count, iterations };
}
