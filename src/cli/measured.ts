/** A model set up for measurements: initialised, its feeds those of a run whose warm-up is over. */
import type { CoopFlowConfig } from "../coopflow/config.ts";
import { Engine } from "../coopflow/engine.ts";
import type { Phase } from "../coopflow/phases.ts";
import { stepSizes } from "../energy/step_sizes.ts";
import { FRESH, learnScalars } from "../coopflow/schedule.ts";
import { freshValues, modelStates } from "../coopflow/states.ts";
import { uniforms } from "../random.ts";
import type { DeviceInfo, DeviceOptions } from "../runtime/device.ts";
import type { Feeds, Profile, Program } from "../runtime/program.ts";
import { median } from "./text_table.ts";

/** A phase of a learning iteration, or all of it as the one program that training runs. */
export type Measurable = Phase | "learn";

/** How often to run something. */
export interface Repetitions {
  /** Runs before, not counted. */
  readonly warmup: number;
  readonly reps: number;
}

/** Owns a device with a model on it. */
export class MeasuredModel implements Disposable {
  readonly #engine: Engine;
  readonly #config: CoopFlowConfig;
  readonly #feeds: Feeds;
  readonly #signal: AbortSignal | undefined;

  private constructor(engine: Engine, config: CoopFlowConfig, signal: AbortSignal | undefined) {
    this.#engine = engine;
    this.#config = config;
    this.#feeds = feedsOf(config);
    this.#signal = signal;
  }

  /** Opens a device, creates the model and initialises it from noise. */
  static async open(config: CoopFlowConfig, options: DeviceOptions, signal?: AbortSignal): Promise<MeasuredModel> {
    const { all, scratch } = modelStates(config);
    const engine = Engine.open(options, [...all, ...scratch], freshValues(config.seed));
    const model = new MeasuredModel(engine, config, signal);
    try {
      const { batch } = config.training;
      await model.#run(await engine.program("initialise", { kind: "initialise", config, images: batch }));
      await engine.release("initialise");
      return model;
    } catch (error) {
      model.close();
      throw error;
    }
  }

  get device(): DeviceInfo {
    return this.#engine.device.info;
  }

  /** Compiles and loads; what is loaded already is given again. */
  program(what: Measurable): Promise<Program> {
    const config = this.#config;
    return this.#engine.program(
      what,
      what === "learn" ? { kind: what, config } : { kind: "phase", config, phase: what },
    );
  }

  /** Frees a program. */
  async release(what: Measurable): Promise<void> {
    await this.#engine.release(what);
  }

  /** Seconds of each counted run. */
  async times(what: Measurable, { warmup, reps }: Repetitions): Promise<number[]> {
    const program = await this.program(what);
    const seconds: number[] = [];
    for (let i = 0; i < warmup + reps; i++) {
      const begin = performance.now();
      await this.#run(program);
      if (i >= warmup) seconds.push((performance.now() - begin) / 1000);
    }
    return seconds;
  }

  /** Median seconds of a run. */
  async seconds(what: Measurable, repetitions: Repetitions): Promise<number> {
    return median(await this.times(what, repetitions));
  }

  /** Where the time of one run goes. */
  async profile(what: Measurable): Promise<Profile> {
    const program = await this.program(what);
    program.profile(true);
    await this.#run(program);
    program.profile(false);
    return program.profileReport();
  }

  async #run(program: Program): Promise<void> {
    await this.#engine.run(program, this.#feeds, this.#signal);
  }

  close(): void {
    this.#engine.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** Everything that any of the programs is fed. */
function feedsOf(config: CoopFlowConfig): Feeds {
  const { height, width, channels } = config.data;
  const { batch } = config.training;
  const draw = (name: string): Float32Array<ArrayBuffer> =>
    uniforms(0, name, batch * height * width * channels).map((u) => 2 * u - 1);
  // As far into a run as the warm-up is over: updates of full size.
  const counters = { ...FRESH, iteration: 1000, flowUpdates: 1000, ebmUpdates: 1000, initialised: true };
  const scalars = learnScalars(config, counters);
  return {
    ...scalars,
    step_size: stepSizes(config.langevin, config.langevin.stepSize),
    data: draw("bench/data"),
    images: draw("bench/images"),
    key: Uint32Array.of(0, 1, 0, 0),
  };
}
