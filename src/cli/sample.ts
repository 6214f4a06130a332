/** `coopflow sample`. */
import { createHash } from "node:crypto";
import { extname, join } from "node:path";
import { CancelledError, UsageError } from "../errors.ts";
import type { Checkpoint } from "../coopflow/checkpoint.ts";
import type { CoopFlow } from "../coopflow/model.ts";
import type { SampleOptions, Trajectories } from "../coopflow/sampling.ts";
import { writeApng } from "../io/apng.ts";
import { type Pixels, writePng } from "../io/png.ts";
import { tensorOf, writeSafetensors } from "../io/safetensors.ts";
import { imageGrid } from "../metrics/grid.ts";
import { listenForInterruption } from "./interruption.ts";
import { findCheckpoint, findConfig, withSteps } from "./checkpoint_source.ts";
import { modelOf } from "./model_source.ts";
import type { DeviceFlags } from "./options.ts";
import { deviceOptions } from "../runtime/device.ts";
import { expectWritable, expectWritableFolder } from "./output.ts";
import { Rate } from "./rate.ts";
import { folderOutput, pictureOutput, type SampleOrigin, type SampleOutput, tensorOutput } from "./sample_output.ts";

/** The options of the command. */
export interface SampleCommandOptions extends DeviceFlags {
  readonly count: number;
  readonly out: string;
  readonly seed?: number;
  readonly steps?: number;
  readonly proposals?: boolean;
  readonly grid?: boolean;
  readonly trajectory?: boolean;
  readonly states?: number;
  readonly liveParameters?: boolean;
}

/** Most images in a folder's grid.png. */
const GRID_IMAGES = 400;
/** States of a chain that a picture shows if nothing else is asked for. */
const STATES = 31;

type Target = "png" | "apng" | "safetensors" | "folder";

/** Runs the command; returns the exit code. */
export async function sampleCommand(run: string, options: Partial<SampleCommandOptions>): Promise<number> {
  const { count = 1, out = "samples", seed, liveParameters = false } = options;
  const target = targetOf(out);
  expectFitting(out, target, options);
  await findConfig(run); // before a folder is made
  await (target === "folder" ? expectWritableFolder(out) : expectWritable(out));
  using interruption = listenForInterruption((line) => console.error(line));
  const checkpoint = withSteps(await findCheckpoint(run, (line) => console.error(line)), options.steps);
  await using model = modelOf(checkpoint, deviceOptions(options), (line) => console.error(line));
  const how: SampleOptions = { seed: seed ?? model.config.seed, liveParameters, signal: interruption.signal };
  if (options.trajectory) {
    const { states } = await writeTrajectories(model, out, target, count, how, options.states);
    console.log(`${count} chains of iteration ${model.counters.iteration}, ${states} states of each, in ${out}`);
    return 0;
  }
  const wish = {
    out,
    count,
    proposals: options.proposals ?? false,
    origin: originOf(checkpoint, how.seed ?? model.config.seed, liveParameters),
  };
  await using output = target === "folder"
    ? await folderOutput(wish)
    : await (target === "png" ? pictureOutput : tensorOutput)(model, wish);
  await drawInto(output, model, count, how);
  if (options.grid) await writeGrid(model, join(out, "grid.png"), Math.min(count, GRID_IMAGES), how);
  console.log(`${count} images of iteration ${model.counters.iteration} in ${out}`);
  return 0;
}

async function drawInto(output: SampleOutput, model: CoopFlow, count: number, how: SampleOptions): Promise<void> {
  const from = output.done;
  if (from >= count) console.error(`all ${count} images were there`);
  else if (from > 0) console.error(`going on after ${from} of ${count} images`);
  let done = from;
  using rate = new Rate("images", from);
  try {
    if (from < count) {
      for await (const batch of model.samples(count - from, { ...how, first: from })) {
        await output.add(batch);
        done += batch.count;
        rate.update(done, count);
      }
    }
    await output.finish();
  } catch (error) {
    if (!(error instanceof CancelledError)) throw error;
    throw new CancelledError(`interrupted after ${done} of ${count} images; the same command goes on`, {
      cause: error,
    });
  }
}

function originOf({ sha256, config, counters }: Checkpoint, seed: number, live: boolean): SampleOrigin {
  const model = createHash("sha256").update(`${sha256}\n${JSON.stringify(config)}`).digest("hex");
  return { model, iteration: counters.iteration, seed, parameters: live ? "live" : "averaged" };
}

function targetOf(out: string): Target {
  const extension = extname(out).toLowerCase();
  if (extension === ".png" || extension === ".apng" || extension === ".safetensors") {
    return extension.slice(1) as Target;
  }
  if (extension === "") return "folder";
  throw new UsageError(`--out: expected a folder, FILE.png, FILE.apng or FILE.safetensors, found ${out}`);
}

/** Refuses options that would do nothing. */
function expectFitting(out: string, target: Target, options: Partial<SampleCommandOptions>): void {
  const { grid, proposals, trajectory, states } = options;
  if (grid && target !== "folder") throw new UsageError(`--grid: expected --out to be a folder, found ${out}`);
  if (proposals && (target === "safetensors" || trajectory)) {
    const holder = trajectory ? "chains" : "safetensors files";
    throw new UsageError(`--proposals: expected --out to be a folder or FILE.png, as ${holder} always hold them`);
  }
  if (states !== undefined && (!trajectory || target === "safetensors")) {
    throw new UsageError("--states: expected --trajectory and a picture with it");
  }
  if (trajectory && target === "folder") {
    throw new UsageError(`--trajectory: expected --out to be FILE.png, FILE.apng or FILE.safetensors, found ${out}`);
  }
  if (target === "apng" && !trajectory) throw new UsageError("--out: expected --trajectory with FILE.apng");
}

async function writeGrid(model: CoopFlow, path: string, count: number, how: SampleOptions): Promise<void> {
  const { height, width, channels, proposals, images } = await model.sample(count, how);
  const panels = [proposals, images].map((values) => ({ height, width, channels, count, images: values }));
  await writePng(path, imageGrid(panels));
}

/** Writes the states of the chains; tells how many of each were shown. */
async function writeTrajectories(
  model: CoopFlow,
  out: string,
  target: Target,
  count: number,
  how: SampleOptions,
  wanted: number = STATES,
): Promise<{ states: number }> {
  const drawn = await model.trajectories(count, how);
  const { height, width, channels, states, trajectories, images, proposals } = drawn;
  if (target === "safetensors") {
    const shape = [count, height, width, channels];
    const tensors = new Map([
      ["images", tensorOf(shape, images)],
      ["proposals", tensorOf(shape, proposals)],
      ["trajectories", tensorOf([count, states, height, width, channels], trajectories)],
    ]);
    await writeSafetensors(out, tensors, new Map([["layout", "N,T,H,W,C"]]));
    return { states };
  }
  const shown = evenly(states, Math.min(states, wanted));
  if (target === "png") {
    const all = shown.map((t) => stateOf(drawn, t));
    const size = height * width * channels;
    const rows = new Float32Array(count * shown.length * size);
    for (let i = 0; i < count; i++) {
      all.forEach((state, k) => rows.set(state.subarray(i * size, (i + 1) * size), (i * shown.length + k) * size));
    }
    const panel = { height, width, channels, images: rows, count: count * shown.length };
    await writePng(out, imageGrid([panel], { columns: shown.length }));
  } else {
    const frames: Pixels[] = shown.map((t) =>
      imageGrid([{ height, width, channels, count, images: stateOf(drawn, t) }])
    );
    await writeApng(out, frames);
  }
  return { states: shown.length };
}

/** State t of every chain. */
function stateOf({ count, states, trajectories }: Trajectories, t: number): Float32Array {
  const size = trajectories.length / (count * states);
  const out = new Float32Array(count * size);
  for (let i = 0; i < count; i++) {
    const at = (i * states + t) * size;
    out.set(trajectories.subarray(at, at + size), i * size);
  }
  return out;
}

/** `n` of the indices 0 … states − 1, both ends included, as evenly spaced as whole numbers are. */
function evenly(states: number, n: number): number[] {
  return Array.from({ length: n }, (_, k) => n === 1 ? states - 1 : Math.round(k * (states - 1) / (n - 1)));
}
