/** A CoopFlow model: learning, sampling, scoring, saving and loading. */
import { UsageError } from "../errors.ts";
import { BatchStream } from "../data/batches.ts";
import type { Dataset, Split } from "../data/dataset.ts";
import type { DeviceInfo, DeviceOptions } from "../runtime/device.ts";
import type { Program } from "../runtime/program.ts";
import { type Checkpoint, readCheckpoint, writeCheckpoint } from "./checkpoint.ts";
import { type CoopFlowConfig, type CoopFlowConfigInput, parseConfig } from "./config.ts";
import { type Densities, type DensityOptions, scoreImages } from "./density.ts";
import {
  type ChainDiagnostics,
  type ChainOptions,
  type LayerMoments,
  matchMoments,
  type MomentOptions,
  watchChains,
} from "./diagnose.ts";
import { Engine } from "./engine.ts";
import type { FitEvent, SetUpEvent } from "./events.ts";
import { checkDataset, checkImages } from "./inference.ts";
import { Learner, learnPrograms, prepareLearning, releaseLearning } from "./learning.ts";
import { inpaintImages, type InpaintOptions } from "./inpaint.ts";
import { interpolateImages, type InterpolateOptions, type Interpolation } from "./interpolate.ts";
import { iterationEvent, nextCounters } from "./iteration.ts";
import {
  displayedChain,
  displayedDensities,
  displayedEvent,
  displayedFound,
  displayedInterpolation,
  displayedSamples,
  displayedTrajectories,
} from "./notebook.ts";
import { firstNotFinite, largestParameter, notFiniteError } from "./not_finite.ts";
import {
  drawSamples,
  drawTrajectories,
  type SampleBatch,
  sampleBatches,
  type SampleOptions,
  type Samples,
  type Trajectories,
} from "./sampling.ts";
import { type Counters, FRESH, learnKind } from "./schedule.ts";
import { type Found, reconstructImages, type SearchOptions } from "./search.ts";
import { averagedNetworks, elements, freshValues, type ModelStates, modelStates } from "./states.ts";
import { Watchdog } from "./warnings.ts";

/** How to open a model. */
export interface ModelOptions extends DeviceOptions {
  /** Takes the place of the configuration's seed. */
  readonly seed?: number;
}

/** How a model's device is opened: what the options leave open is the configuration's. */
function openingOf({ compute: { precision } }: CoopFlowConfig, options: DeviceOptions): DeviceOptions {
  return { precision, ...options };
}

/** Options of {@linkcode CoopFlow.fit}. */
export interface FitOptions {
  /** Learn until this many iterations are complete, those before this call included. Default: the configuration's. */
  readonly iterations?: number;
  /**
   * Measure each instruction of this many iterations, those after the first, whose memory is new (that one too if it is the only one), and tell of it
   * in an event behind the last of them. Learning goes on. With accumulation it is the micro-batches that are measured. Default 0.
   */
  readonly profile?: number;
  /** Ends learning; the model stays as the last complete iteration left it. */
  readonly signal?: AbortSignal;
}

/**
 * A normalizing flow and an energy-based model that learn from each other (Xie et al.: "A Tale of Two Flows", ICLR 2022).
 * Owns native memory: close it, or declare it with `await using`.
 *
 * ```ts
 * import { CoopFlow, datasets, presets } from "@coopflow/coopflow";
 *
 * await using model = await CoopFlow.create(presets.digits, { seed: 0 });
 * for await (const event of model.fit(await datasets.digits(), { iterations: 100 })) console.log(event);
 * const { images, proposals } = await model.sample(64, { seed: 1 });
 * await model.save("digits.safetensors");
 * ```
 */
export class CoopFlow implements AsyncDisposable {
  #config: CoopFlowConfig;
  #counters: Counters;
  readonly #engine: Engine;
  readonly #states: ModelStates;
  #learning = false;

  private constructor(config: CoopFlowConfig, counters: Counters, engine: Engine, states: ModelStates) {
    this.#config = config;
    this.#counters = counters;
    this.#engine = engine;
    this.#states = states;
  }

  /**
   * A fresh model.
   *
   * @throws {ConfigError} if the configuration can't be used
   * @throws {NativeError} if the native library is missing or refuses
   */
  static create(config: CoopFlowConfigInput, options: ModelOptions = {}): Promise<CoopFlow> {
    // async, so that errors reject and later versions may do slow work here.
    return Promise.resolve().then(() => {
      const { seed, ...device } = options;
      const full = parseConfig(seed === undefined ? config : { ...config, seed });
      const states = modelStates(full);
      const engine = Engine.open(openingOf(full, device), [...states.all, ...states.scratch], freshValues(full.seed));
      return new CoopFlow(full, FRESH, engine, states);
    });
  }

  /**
   * A model from a checkpoint.
   *
   * @throws {CheckpointError} if the file is missing, damaged or no checkpoint
   */
  static async load(path: string, options: DeviceOptions = {}): Promise<CoopFlow> {
    return CoopFlow.fromCheckpoint(await readCheckpoint(path), options);
  }

  /** A model from a checkpoint that was read before. */
  static fromCheckpoint(checkpoint: Checkpoint, options: DeviceOptions = {}): CoopFlow {
    const { config, counters, values } = checkpoint;
    const states = modelStates(config);
    const fresh = freshValues(config.seed);
    const engine = Engine.open(
      openingOf(config, options),
      [...states.all, ...states.scratch],
      (spec, device) => values.get(spec.name) ?? fresh(spec, device),
    );
    return new CoopFlow(config, counters, engine, states);
  }

  /** The complete configuration. */
  get config(): CoopFlowConfig {
    return this.#config;
  }

  /** How much has been learnt. */
  get counters(): Counters {
    return this.#counters;
  }

  /** Trained numbers of both networks. */
  get parameters(): number {
    return this.#states.parameters;
  }

  /** The device in use: threads, instruction set, memory. */
  get device(): DeviceInfo {
    return this.#engine.device.info;
  }

  /**
   * Learns, one native call per iteration, and tells of each. A fresh model's activation norms are initialised from data first.
   * Leaving the loop early is fine: the model stays as the last complete iteration left it.
   *
   * @throws {DataError} if the data does not fit the configuration
   * @throws {CancelledError} when the signal is given
   * @throws {CoopFlowError} when a value is not finite, unless the configuration says to go on
   */
  async *fit(data: Dataset | Pick<Split, "train">, options: FitOptions = {}): AsyncGenerator<FitEvent, void, void> {
    const { signal, iterations = this.#config.training.iterations, profile = 0 } = options;
    for (const [name, value] of Object.entries({ iterations, profile })) {
      if (Number.isSafeInteger(value) && value >= 0) continue;
      throw new UsageError(`${name}: expected a whole number of at least 0, found ${value}`);
    }
    if (this.#learning) throw new UsageError("fit: expected one call at a time, found another that has not ended");
    const train = "train" in data ? data.train : data;
    checkDataset(this.#config, train);
    this.#learning = true;
    try {
      this.#config = { ...this.#config, training: { ...this.#config.training, iterations } };
      if (this.#counters.iteration < iterations) {
        yield displayedEvent(await this.#setUp(train, signal));
        for await (const event of this.#iterate(train, profile, signal)) yield displayedEvent(event);
      }
      yield displayedEvent({ type: "finished", iteration: this.#counters.iteration });
    } finally {
      this.#learning = false;
    }
  }

  async #setUp(train: Dataset, signal: AbortSignal | undefined): Promise<SetUpEvent> {
    const begin = performance.now();
    // Beside the initialisation, which takes the longer the larger the model is.
    const kind = learnKind(this.#config, this.#counters.iteration);
    prepareLearning(this.#engine, this.#config, kind);
    const initialisedFrom = this.#counters.initialised ? 0 : await this.#initialise(train, signal);
    await learnPrograms(this.#engine, this.#config, kind);
    return {
      type: "set-up",
      device: this.device,
      parameters: this.parameters,
      iteration: this.#counters.iteration,
      iterations: this.#config.training.iterations,
      initialisedFrom,
      seconds: (performance.now() - begin) / 1000,
    };
  }

  async #initialise(train: Dataset, signal: AbortSignal | undefined): Promise<number> {
    const { training: { initialisationImages }, seed } = this.#config;
    const batch = Math.min(initialisationImages, train.count);
    const stream = new BatchStream(train, { seed, batch });
    const images = new Float32Array(stream.elements);
    stream.fill(0, images);
    const program = await this.#engine.program("initialise", {
      kind: "initialise",
      config: this.#config,
      images: batch,
    });
    await this.#engine.run(program, { data: images, key: Uint32Array.of(seed, 0, 0, 0) }, signal);
    await this.#engine.release("initialise");
    const { device } = this.#engine;
    for (const { name, shape, averageOf } of this.#states.all) {
      if (averageOf !== undefined) device.setState(name, device.getState(averageOf, elements(shape)), shape);
    }
    this.#counters = { ...this.#counters, initialised: true };
    return batch;
  }

  async *#iterate(
    train: Dataset,
    profile: number,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<FitEvent, void, void> {
    const config = this.#config;
    const { iterations, flowEvery } = config.training;
    const learner = new Learner(this.#engine, config, train);
    const from = Math.min(this.#counters.iteration + 1, iterations - 1);
    const until = Math.min(from + profile, iterations);
    const watchdog = new Watchdog();
    let program: Program | undefined;
    while (this.#counters.iteration < iterations) {
      const { iteration } = this.#counters;
      const kind = learnKind(config, iteration);
      const next = await learnPrograms(this.#engine, config, kind);
      if (next.main !== program) {
        program?.profile(false);
        program = next.main;
        // Also because a call of before may have been left while it measured.
        program.profile(iteration > from && iteration < until);
      }
      if (kind === "learn" && flowEvery === 1) await releaseLearning(this.#engine, "learn-ebm");
      if (iteration === from && until > from) program.profile(true);
      const begin = performance.now();
      const { fetches, scalars, dataSeconds, look: lookAgain } = await learner.run(next, this.#counters, signal);
      const look = watchdog.hasTold("not-finite") ? undefined : lookAgain;
      const broken = await firstNotFinite(fetches, look);
      if (broken !== undefined && config.training.stopOnNaN) {
        throw notFiniteError(iteration + 1, broken, largestParameter(this.#engine, this.#states));
      }
      this.#counters = nextCounters(this.#counters, fetches);
      const seconds = (performance.now() - begin) / 1000;
      const event = iterationEvent(config, this.#counters.iteration, { seconds, dataSeconds }, scalars, fetches);
      yield event;
      yield* watchdog.observe(event, broken, (name) => fetches[name] !== undefined);
      if (iteration + 1 !== until || until === from) continue;
      program.profile(false);
      yield { type: "profile", iterations: until - from, profile: program.profileReport() };
    }
  }

  /**
   * Draws images: the flow's proposals, and what the Langevin chain makes of them. Image i depends on the seed and on `first` + i alone.
   *
   * @throws {UsageError} if the model has not been initialised by {@linkcode fit}
   */
  async sample(count: number, options: SampleOptions = {}): Promise<Samples> {
    this.#expectInitialised("sample");
    return displayedSamples(await drawSamples(this.#engine, this.#config, count, options));
  }

  /**
   * The images of {@linkcode sample} as they are drawn, a compiled batch at a time; the next batch is computed while one is used. Memory does not
   * depend on the count.
   *
   * ```ts
   * for await (const { first, images } of model.samples(50_000, { seed: 1 })) await keep(first, images);
   * ```
   */
  async *samples(count: number, options: SampleOptions = {}): AsyncGenerator<SampleBatch, void, void> {
    this.#expectInitialised("samples");
    for await (const batch of sampleBatches(this.#engine, this.#config, count, options)) yield displayedSamples(batch);
  }

  /** The images of {@linkcode sample} with every state of their chains: the proposal first, then one after each Langevin step. */
  async trajectories(count: number, options: SampleOptions = {}): Promise<Trajectories> {
    this.#expectInitialised("trajectories");
    return displayedTrajectories(await drawTrajectories(this.#engine, this.#config, count, options));
  }

  /**
   * Bits per dimension under the flow (importance-weighted over `draws` of the dequantization noise), and energies under the EBM, of images.
   *
   * @param images [count, height, width, channels] values in [−1, 1]
   */
  async density(images: Float32Array, options: DensityOptions = {}): Promise<Densities> {
    this.#expectInitialised("density");
    checkImages(this.#config, images);
    return displayedDensities(await scoreImages(this.#engine, this.#config, images, options));
  }

  /** What Langevin chains of any length do, step by step, starting from the proposals of {@linkcode sample}. */
  async chain(count: number, options: ChainOptions = {}): Promise<ChainDiagnostics> {
    this.#expectInitialised("chain");
    return displayedChain(await watchChains({ engine: this.#engine, config: this.#config }, count, options));
  }

  /**
   * How far the energy is from its maximum of the likelihood, layer by layer: there E_data[∂f/∂θ] = E_synthesised[∂f/∂θ].
   *
   * @param data [count, height, width, channels] values in [−1, 1]
   * @param synthesised as many or more or fewer, such as the images of {@linkcode sample}
   */
  async momentMatching(
    data: Float32Array,
    synthesised: Float32Array,
    options: MomentOptions = {},
  ): Promise<LayerMoments[]> {
    this.#expectInitialised("momentMatching");
    for (const images of [data, synthesised]) checkImages(this.#config, images);
    return await matchMoments({ engine: this.#engine, config: this.#config }, data, synthesised, options);
  }

  /**
   * Finds where the Langevin flow has to start to end at the images: gradient descent on Σ(x − F(x₀))² from proposals of the flow, differentiating
   * through F, T steps without noise and clamps at the δ of learning (paper §5.2).
   *
   * @param images [count, height, width, channels] values in [−1, 1]
   */
  async reconstruct(images: Float32Array, options: SearchOptions = {}): Promise<Found> {
    this.#expectInitialised("reconstruct");
    checkImages(this.#config, images);
    return displayedFound(await reconstructImages({ engine: this.#engine, config: this.#config }, images, options));
  }

  /**
   * Completes images of which a part is hidden, by the search of {@linkcode reconstruct} on what is not; that is put back into the results. Each image
   * gives `completions` results in a row.
   *
   * @param hidden height·width values, true (or not 0) where a pixel is to be found
   * @throws {DataError} if the mask hides everything or nothing
   */
  async inpaint(
    images: Float32Array,
    hidden: ArrayLike<number | boolean>,
    options: InpaintOptions = {},
  ): Promise<Found> {
    this.#expectInitialised("inpaint");
    checkImages(this.#config, images);
    const model = { engine: this.#engine, config: this.#config };
    return displayedFound(await inpaintImages(model, images, hidden, options));
  }

  /**
   * Walks from image i to image i + count/2 through the latent space: reconstructs both, maps their starts to z, and decodes what lies between through
   * both flows; or, given a number, between that many pairs of random z. As in the reference, z is that of a start and its dequantization noise: the
   * ends of a walk are half a grey level lighter than the images, which shows where there are few levels.
   */
  async interpolate(between: Float32Array | number, options: InterpolateOptions = {}): Promise<Interpolation> {
    this.#expectInitialised("interpolate");
    if (typeof between !== "number") checkImages(this.#config, between);
    const model = { engine: this.#engine, config: this.#config };
    return displayedInterpolation(await interpolateImages(model, between, options));
  }

  /** Which networks have averaged parameters, which samples are drawn from by default. */
  get averaged(): { readonly flow: boolean; readonly ebm: boolean } {
    const { flow, energy } = averagedNetworks(this.#config);
    return { flow, ebm: energy };
  }

  /**
   * Writes a checkpoint: parameters, averages, optimizers and counters.
   *
   * @throws {CoopFlowError} naming path and reason; a file that was there stays
   */
  async save(path: string): Promise<void> {
    const { device } = this.#engine;
    const header = { config: this.#config, counters: this.#counters };
    const room = new Float32Array(Math.max(...this.#states.all.map(({ shape }) => elements(shape))));
    await writeCheckpoint(path, header, this.#states.all, ({ name, shape }) => {
      const value = room.subarray(0, elements(shape));
      device.readState(name, value);
      return value;
    });
    room.buffer.transfer(0);
  }

  #expectInitialised(what: string): void {
    if (this.#counters.initialised) return;
    throw new UsageError(
      `${what}: expected a model that has begun to learn, found a fresh one; call fit or load a checkpoint`,
    );
  }

  /** Cancels what runs and frees everything. Closing twice does nothing. */
  close(): void {
    this.#engine.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.close();
    return Promise.resolve();
  }
}
