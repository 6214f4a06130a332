/** `coopflow bench`: seconds per phase of a learning iteration, images per second when sampling, peak memory, and what the machine can do. */
import { readFile } from "node:fs/promises";
import process from "node:process";
import { type CoopFlowConfig, parseConfig } from "../coopflow/config.ts";
import { type Phase, PHASES } from "../coopflow/phases.ts";
import type { PresetName } from "../coopflow/preset_names.ts";
import { presets } from "../coopflow/presets.ts";
import { LIBRARY_VERSION } from "../coopflow/version.ts";
import { writeAtomic } from "../io/atomic.ts";
import { listenForInterruption } from "./interruption.ts";
import { MeasuredModel } from "./measured.ts";
import { measurePeaks, type Peaks, peaksLine } from "./profile/peaks.ts";
import { reportProfile } from "./profile/report.ts";
import { textTable } from "./text_table.ts";
import { type DeviceFlags, precisionLine } from "./options.ts";
import { deviceOptions } from "../runtime/device.ts";

/** The options of the command. */
export interface BenchOptions extends DeviceFlags {
  readonly config: PresetName;
  readonly batch: number;
  readonly steps: number;
  readonly reps: number;
  readonly warmup: number;
  readonly winograd: boolean;
  /** `training.recompute`. */
  readonly recompute: boolean;
  /** A file for the trace, or `true` for one in the current folder. */
  readonly profile?: boolean | string;
  /** A file, or `true` for standard output. */
  readonly json?: boolean | string;
}

const DEFAULTS: BenchOptions = {
  config: "digits",
  batch: 64,
  steps: 30,
  reps: 3,
  warmup: 1,
  winograd: true,
  recompute: false,
};

/** What a program took. */
interface Measurement {
  readonly seconds: number;
  readonly flops: number;
}

/** The networks of a preset with the reference's optimizers and dropout, as comparisons need. */
export function benchConfig({ config, batch, steps, winograd, recompute }: BenchOptions): CoopFlowConfig {
  const { data, flow, energy } = presets[config];
  return parseConfig({
    data: { ...data, levels: 256, flip: false },
    flow: { ...flow, dropout: 0.2 },
    energy,
    langevin: { steps },
    training: { batch, initialisationImages: batch, recompute },
    compute: { winograd },
  });
}

/** Runs the command; returns the exit code. */
export async function benchCommand(given: Partial<BenchOptions>): Promise<number> {
  const options: BenchOptions = { ...DEFAULTS, ...given };
  const { batch, steps } = options;
  using interruption = listenForInterruption((line) => console.error(line));
  const opening = deviceOptions(options);
  using model = await MeasuredModel.open(benchConfig(options), opening, interruption.signal);
  const choice = precisionLine(model.device);
  if (choice !== undefined) console.error(choice);
  const begin = performance.now();
  const { info: learn } = await model.program("learn");
  const compile = (performance.now() - begin) / 1000;
  const iteration = { seconds: await model.seconds("learn", options), flops: learn.flops };
  // Before the phases are loaded: learning has only the one program.
  const memory = await peakMegabytes();
  const info = model.device;
  const peaks = await measurePeaks(opening, info);
  if (options.profile) {
    const name = `coopflow-${options.config}-${batch}`;
    await reportProfile({
      profile: await model.profile("learn"),
      runs: 1,
      peaks,
      title: `${name}, ${info.detail}`,
      path: options.profile === true ? `${name}.trace.json` : options.profile,
    });
  }
  await model.release("learn");

  const phases = new Map<Phase, Measurement>();
  for (const phase of PHASES) {
    const { info: { flops } } = await model.program(phase);
    phases.set(phase, { seconds: await model.seconds(phase, options), flops });
    await model.release(phase);
  }
  const seconds = (phase: Phase): number => phases.get(phase)?.seconds ?? NaN;
  const setting = {
    program: `coopflow ${LIBRARY_VERSION}`,
    config: options.config,
    device: info.device,
    batch,
    steps,
    threads: info.threads,
    isa: info.isa,
    winograd: options.winograd && info.winograd,
    precision: info.precision,
    recompute: options.recompute,
  };
  const rest = {
    images_per_s_sampling: batch / (seconds("flow_sample") + seconds("langevin")),
    peak_host_mb: memory,
    peak_device_mb: info.device_peak_bytes > 0 ? info.device_peak_bytes / 2 ** 20 : null,
    compile_s: compile,
    instructions: learn.instructions,
    arena_mb: learn.arena_bytes / 2 ** 20,
  };
  const all = new Map<string, Measurement>([...phases, ["iteration", iteration]]);
  const result = JSON.stringify({
    ...setting,
    ...Object.fromEntries([...all].map(([name, { seconds }]) => [`${name}_s`, seconds])),
    ...Object.fromEntries([...all].map(([name, { flops }]) => [`${name}_gflop`, flops / 1e9])),
    ...rest,
    peak_gemm_one_thread_gflops: peaks.gemmOneThread,
    peak_gemm_gflops: peaks.gemm,
    peak_copy_gbs: peaks.copy,
  });
  if (typeof options.json === "string") await writeAtomic(options.json, new TextEncoder().encode(`${result}\n`));
  if (options.json === true) console.log(result);
  else for (const line of benchLines(setting, all, rest, peaks)) console.log(line);
  return 0;
}

type Fields = Readonly<Record<string, string | number | boolean | null>>;

function benchLines(
  setting: Fields,
  measured: ReadonlyMap<string, Measurement>,
  rest: Fields,
  peaks: Peaks,
): string[] {
  const field = ([name, value]: [string, Fields[string]]): string => `${name.padEnd(22)} ${shown(value)}`;
  const rows = [...measured].map(([name, { seconds, flops }]) => [
    name,
    seconds.toPrecision(4),
    (flops / 1e9).toPrecision(4),
    (flops / seconds / 1e9).toFixed(1),
    `${(100 * flops / seconds / 1e9 / peaks.gemm).toFixed(1)} %`,
  ]);
  return [
    ...Object.entries(setting).map(field),
    "",
    ...textTable(["", "seconds", "GFLOP", "GFLOP/s", "of peak"], rows),
    "",
    ...Object.entries(rest).map(field),
    `${"measured peaks".padEnd(22)} ${peaksLine(peaks)}`,
  ];
}

/** The most memory that the process has had, in MB (2²⁰ bytes). */
async function peakMegabytes(): Promise<number> {
  const text = await readFile("/proc/self/status", "utf8").catch(() => "");
  const match = /^VmHWM:\s*(\d+) kB$/m.exec(text);
  return match === null ? process.memoryUsage().rss / 2 ** 20 : Number(match[1]) / 1024;
}

function shown(value: Fields[string]): string {
  return typeof value === "number" && !Number.isInteger(value) ? value.toPrecision(4) : String(value);
}
