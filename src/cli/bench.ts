/** `coopflow bench`: seconds per phase of a learning iteration, images per second when sampling, peak memory. */
import { readFile } from "node:fs/promises";
import process from "node:process";
import { type CoopFlowConfig, parseConfig } from "../coopflow/config.ts";
import { Engine } from "../coopflow/engine.ts";
import { type Phase, PHASES } from "../coopflow/phases.ts";
import { type PresetName, presets } from "../coopflow/presets.ts";
import { FRESH, learnScalars } from "../coopflow/schedule.ts";
import { freshValues, modelStates } from "../coopflow/states.ts";
import { LIBRARY_VERSION } from "../coopflow/version.ts";
import { uniforms } from "../random.ts";
import type { Feeds, Program } from "../runtime/program.ts";
import { listenForInterruption } from "./interruption.ts";

/** The options of the command. */
export interface BenchOptions {
  readonly config: PresetName;
  readonly batch: number;
  readonly steps: number;
  readonly reps: number;
  readonly warmup: number;
  readonly device?: "auto" | "cpu";
  readonly threads?: number;
  readonly profile?: boolean;
  readonly json?: boolean;
}

const DEFAULTS: BenchOptions = { config: "digits", batch: 64, steps: 30, reps: 3, warmup: 1 };
/** Instructions that a profile shows. */
const PROFILE_ROWS = 40;

/** The networks of a preset with the reference's optimizers and dropout, as comparisons need. */
function benchConfig({ config, batch, steps }: BenchOptions): CoopFlowConfig {
  const { data, flow, energy } = presets[config];
  return parseConfig({
    data: { ...data, levels: 256, flip: false },
    flow: { ...flow, dropout: 0.2 },
    energy,
    langevin: { steps },
    training: { batch, initialisationImages: batch },
  });
}

/** Runs the command; returns the exit code. */
export async function benchCommand(given: Partial<BenchOptions>): Promise<number> {
  const options: BenchOptions = { ...DEFAULTS, ...given };
  const { device, threads, reps, warmup, batch } = options;
  const config = benchConfig(options);
  using interruption = listenForInterruption((line) => console.error(line));
  const { signal } = interruption;
  const opening = {
    ...(device === undefined ? {} : { device }),
    ...(threads === undefined ? {} : { threads }),
  };
  using engine = Engine.open(opening, modelStates(config).all, freshValues(config.seed));
  const feeds = feedsOf(config);
  await engine.run(await engine.program("initialise", { kind: "initialise", config, images: batch }), feeds, signal);
  await engine.release("initialise");

  const time = async (program: Program, count: number): Promise<number> => {
    const seconds: number[] = [];
    for (let i = 0; i < warmup + count; i++) {
      const begin = performance.now();
      await engine.run(program, feeds, signal);
      if (i >= warmup) seconds.push((performance.now() - begin) / 1000);
    }
    return median(seconds);
  };
  const begin = performance.now();
  const learn = await engine.program("learn", { kind: "learn", config });
  const compile = (performance.now() - begin) / 1000;
  const iteration = await time(learn, reps);
  // Before the phases are loaded: learning has only the one program.
  const memory = await peakMegabytes();
  if (options.profile) await profile(engine, learn, feeds, signal);
  await engine.release("learn");

  const seconds = new Map<Phase, number>();
  for (const phase of PHASES) {
    seconds.set(phase, await time(await engine.program(phase, { kind: "phase", config, phase }), reps));
    await engine.release(phase);
  }
  const of = (phase: Phase): number => seconds.get(phase) ?? NaN;
  const { info } = engine.device;
  const result = {
    program: `coopflow ${LIBRARY_VERSION}`,
    config: options.config,
    device: info.device,
    batch,
    steps: options.steps,
    threads: info.threads,
    isa: info.isa,
    flow_sample_s: of("flow_sample"),
    langevin_s: of("langevin"),
    flow_update_s: of("flow_update"),
    ebm_update_s: of("ebm_update"),
    iteration_s: iteration,
    images_per_s_sampling: batch / (of("flow_sample") + of("langevin")),
    peak_host_mb: memory,
    peak_device_mb: null,
    compile_s: compile,
    instructions: learn.info.instructions,
    arena_mb: learn.info.arena_bytes / 2 ** 20,
  };
  if (options.json) console.log(JSON.stringify(result));
  else for (const [name, value] of Object.entries(result)) console.log(`${name.padEnd(22)} ${shown(value)}`);
  return 0;
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
  return { ...scalars, data: draw("bench/data"), images: draw("bench/images"), key: Uint32Array.of(0, 1, 0, 0) };
}

async function profile(engine: Engine, program: Program, feeds: Feeds, signal: AbortSignal): Promise<void> {
  program.profile(true);
  await engine.run(program, feeds, signal);
  program.profile(false);
  const entries = program.profileReport();
  const total = entries.reduce((sum, { seconds }) => sum + seconds, 0);
  const byOp = new Map<string, { seconds: number; calls: number; flops: number }>();
  for (const { op, seconds, calls, flops } of entries) {
    const sum = byOp.get(op) ?? { seconds: 0, calls: 0, flops: 0 };
    byOp.set(op, { seconds: sum.seconds + seconds, calls: sum.calls + calls, flops: sum.flops + flops * calls });
  }
  const line = (what: string, seconds: number, calls: number, flops: number): string =>
    `${(1000 * seconds).toFixed(2).padStart(10)} ms ${(100 * seconds / total).toFixed(1).padStart(5)} % ` +
    `${String(calls).padStart(7)} calls ${(flops / seconds / 1e9).toFixed(1).padStart(8)} GFLOP/s  ${what}`;
  console.error("by operation");
  for (const [op, sum] of [...byOp].sort(([, a], [, b]) => b.seconds - a.seconds)) {
    console.error(line(op, sum.seconds, sum.calls, sum.flops));
  }
  console.error("by instruction");
  for (const entry of entries.toSorted((a, b) => b.seconds - a.seconds).slice(0, PROFILE_ROWS)) {
    const { op, name, seconds, calls, flops } = entry;
    console.error(line(`${op} ${name}`, seconds, calls, flops * calls));
  }
}

/** The most memory that the process has had, in MB (2²⁰ bytes). */
async function peakMegabytes(): Promise<number> {
  const text = await readFile("/proc/self/status", "utf8").catch(() => "");
  const match = /^VmHWM:\s*(\d+) kB$/m.exec(text);
  return match === null ? process.memoryUsage().rss / 2 ** 20 : Number(match[1]) / 1024;
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  return ((sorted[Math.floor(middle)] ?? NaN) + (sorted[Math.ceil(middle) - 1] ?? NaN)) / 2;
}

function shown(value: string | number | null): string {
  return typeof value === "number" && !Number.isInteger(value) ? value.toPrecision(4) : String(value);
}
