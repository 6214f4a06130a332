/** Running learning iterations: one native call each, or with accumulation one for each micro-batch and one for the step. */
import { BatchStream } from "../data/batches.ts";
import type { Dataset } from "../data/dataset.ts";
import { Prefetch } from "../data/prefetch.ts";
import { stepSizes } from "../energy/step_sizes.ts";
import type { Feeds, Fetches, NotFinite, Program } from "../runtime/program.ts";
import type { CoopFlowConfig } from "./config.ts";
import type { Engine } from "./engine.ts";
import { WATCHED } from "./not_finite.ts";
import { type Counters, type LearnKind, learnScalars } from "./schedule.ts";

/** The programs of an iteration. */
export interface LearnPrograms {
  /** All of the iteration, or the gradients of a micro-batch. */
  readonly main: Program;
  /** With accumulation. */
  readonly step?: Program;
}

/** What came of an iteration. */
export interface Learnt {
  readonly fetches: Fetches;
  /** What the host fed beside images, keys and step sizes. */
  readonly scalars: Readonly<Record<string, number>>;
  readonly dataSeconds: number;
  /** Runs it again, changing nothing, to see where a value that is not finite first comes up. */
  readonly look: () => Promise<NotFinite | undefined>;
}

const stepKey = (kind: LearnKind): string => `${kind} step`;

/** Begins to compile the programs of a kind of iteration. */
export function prepareLearning(engine: Engine, config: CoopFlowConfig, kind: LearnKind): void {
  engine.prepare(kind, { kind, config });
  if (config.training.accumulate > 1) engine.prepare(stepKey(kind), { kind: "step", of: kind, config });
}

/** The programs of a kind of iteration. */
export async function learnPrograms(engine: Engine, config: CoopFlowConfig, kind: LearnKind): Promise<LearnPrograms> {
  const main = await engine.program(kind, { kind, config });
  if (config.training.accumulate === 1) return { main };
  return { main, step: await engine.program(stepKey(kind), { kind: "step", of: kind, config }) };
}

/** Frees the programs of a kind of iteration. */
export async function releaseLearning(engine: Engine, kind: LearnKind): Promise<void> {
  await engine.release(kind);
  await engine.release(stepKey(kind));
}

/** Learns from one data set. */
export class Learner {
  readonly #engine: Engine;
  readonly #config: CoopFlowConfig;
  readonly #batches: Prefetch;

  constructor(engine: Engine, config: CoopFlowConfig, data: Dataset) {
    const { seed, training: { batch, accumulate }, data: { flip } } = config;
    this.#engine = engine;
    this.#config = config;
    // The parts of a batch of accumulate·batch images.
    const parts = Array.from(
      { length: accumulate },
      (_, rank) => new BatchStream(data, { seed, batch, flip, shard: { rank, ranks: accumulate } }),
    );
    this.#batches = new Prefetch({
      elements: parts[0]!.elements,
      fill: (k, into) => parts[k % accumulate]!.fill(Math.floor(k / accumulate), into),
    });
  }

  /**
   * One iteration; no state changes before its last native call.
   *
   * @throws {CancelledError} if the signal is given before the iteration has ended
   */
  async run({ main, step }: LearnPrograms, counters: Counters, signal: AbortSignal | undefined): Promise<Learnt> {
    const { seed, langevin, training: { batch, accumulate } } = this.#config;
    const { iteration } = counters;
    const scalars = learnScalars(this.#config, counters);
    const common = { ...scalars, step_size: stepSizes(langevin, langevin.stepSize) };
    const results: Fetches[] = [];
    let seconds = 0;
    let suspect: Feeds | undefined;
    let last: Feeds = common;
    for (let part = 0; part < accumulate; part++) {
      const k = iteration * accumulate + part;
      const ready = this.#batches.take(k);
      seconds += ready.seconds;
      const key = Uint32Array.of(seed, iteration, part * batch, 0);
      const feeds = { ...common, data: ready.images, key, fresh: part === 0 ? 1 : 0 };
      const found = await this.#runAhead(main, feeds, k + 1, signal);
      results.push(found);
      // Images are kept where something is wrong with them, as others will lie in their place.
      const isBroken = WATCHED.some(({ name }) => !Number.isFinite(found[name]?.[0] ?? 0));
      if (isBroken) suspect ??= { ...feeds, data: ready.images.slice() };
      last = feeds;
    }
    const look = (): Promise<NotFinite | undefined> => this.#engine.watch(main, suspect ?? last, signal);
    if (step === undefined) return { fetches: results[0]!, scalars, dataSeconds: seconds, look };
    const means = meansOf(results);
    const given = Object.fromEntries(Object.entries(means).map(([name, value]) => [name, value[0]!]));
    const taken = await this.#engine.run(step, { ...scalars, ...given }, signal);
    return { fetches: { ...means, ...taken }, scalars, dataSeconds: seconds, look };
  }

  /** Runs a program while batch k is read. */
  async #runAhead(program: Program, feeds: Feeds, k: number, signal: AbortSignal | undefined): Promise<Fetches> {
    const { iterations, accumulate } = this.#config.training;
    const running = this.#engine.run(program, feeds, signal);
    const preparing = k < iterations * accumulate ? this.#batches.prepareSoon(k) : undefined;
    return await running.finally(() => preparing);
  }
}

/** Means of scalars over micro-batches; that of `change`, a root of a mean of squares, is one too. */
function meansOf(results: readonly Fetches[]): Record<string, Float32Array<ArrayBuffer>> {
  const names = Object.keys(results[0]!);
  const mean = (of: (fetches: Fetches) => number): number =>
    results.reduce((sum, fetches) => sum + of(fetches), 0) / results.length;
  return Object.fromEntries(names.map((name) => {
    const value = name === "change"
      ? Math.sqrt(mean((fetches) => fetches[name]![0]! ** 2))
      : mean((fetches) => fetches[name]![0]!);
    return [name, Float32Array.of(value)];
  }));
}
