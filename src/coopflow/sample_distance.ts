/** How far a model's samples are from held-out images while it learns. */
import { ConfigError } from "../errors.ts";
import { type Dataset, readImages } from "../data/dataset.ts";
import { type FeatureExtractor, pixelFeatures } from "../metrics/extractors.ts";
import { blocks, FeatureFile } from "../metrics/features.ts";
import { frechetDistance } from "../metrics/frechet.ts";
import { type Moments, momentsOfSet } from "../metrics/moments.ts";
import { OnnxFeatures } from "../metrics/onnx_features.ts";
import { DigitFeatures, isDigits } from "./digit_features.ts";
import type { Measured } from "./metric_names.ts";
import type { CoopFlow } from "./model.ts";
import { isMeasurable } from "./report.ts";

/** Features, and the file of the network that makes them. */
interface Features {
  readonly metric: Exclude<Measured, "bitsPerDim">;
  readonly features: string;
}

/** Opens an extractor that `networks` closes. */
type Opening = (networks: AsyncDisposableStack) => Promise<FeatureExtractor>;

/**
 * The Fréchet distance of revised images (in phase flow: proposals) to held-out ones in some features. Networks are loaded for each measurement and
 * given back, so that learning has the memory.
 */
export class SampleDistance {
  readonly #open: Opening;
  readonly #reference: Moments;

  private constructor(open: Opening, reference: Moments) {
    this.#open = open;
    this.#reference = reference;
  }

  /**
   * Takes the moments of held-out images.
   *
   * @throws {ConfigError} if such images have no such features
   * @throws {DataError} if the network can't be used
   */
  static async open(features: Features, heldout: Dataset, threads: number): Promise<SampleDistance> {
    const open = opening(features, heldout, threads);
    await using networks = new AsyncDisposableStack();
    const extractor = await open(networks);
    using found = FeatureFile.create(extractor.dimension);
    for (const [first, n] of blocks(heldout.count)) {
      found.append(await extractor.extract(readImages(heldout, first, n), n));
    }
    return new SampleDistance(open, momentsOfSet(found));
  }

  /** The distance of so many samples of the model. */
  async of(model: CoopFlow, count: number, signal?: AbortSignal): Promise<number> {
    await using networks = new AsyncDisposableStack();
    const extractor = await this.#open(networks);
    using found = FeatureFile.create(extractor.dimension);
    for await (const { images, count: n } of model.samples(count, signal === undefined ? {} : { signal })) {
      found.append(await extractor.extract(images, n));
    }
    return frechetDistance(momentsOfSet(found), this.#reference);
  }
}

function opening({ metric, features }: Features, heldout: Dataset, threads: number): Opening {
  const { height, width, channels } = heldout;
  const refused = (expected: string): ConfigError =>
    new ConfigError(
      "training.best.metric",
      `expected ${expected} for ${heldout.count} images of ${height}×${width}×${channels}, found ${metric}`,
    );
  switch (metric) {
    case "frechet":
      if (!isMeasurable(heldout)) throw refused("off, fid or bitsPerDim");
      return () => Promise.resolve(pixelFeatures(heldout));
    case "digitFid":
      if (!isDigits(heldout)) throw refused("another metric");
      return async (networks) => networks.use(await DigitFeatures.open({ device: "cpu", threads }));
    case "fid":
      return async (networks) => networks.use(await OnnxFeatures.open(features, heldout));
  }
}
