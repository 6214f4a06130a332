/** `coopflow sample`. */
import { access, constants, mkdir, stat } from "node:fs/promises";
import { dirname, extname, join } from "node:path";
import { CoopFlowError, UsageError } from "../errors.ts";
import type { SampleOptions, Samples } from "../coopflow/inference.ts";
import type { CoopFlow } from "../coopflow/model.ts";
import { writePng } from "../io/png.ts";
import { tensorOf, writeSafetensors } from "../io/safetensors.ts";
import { systemReason } from "../io/system_error.ts";
import { type GridPanel, imageGrid } from "../metrics/grid.ts";
import { listenForInterruption } from "./interruption.ts";
import { openModel } from "./model_source.ts";
import { type DeviceFlags, deviceOptions } from "./options.ts";

/** The options of the command. */
export interface SampleCommandOptions extends DeviceFlags {
  readonly count: number;
  readonly out: string;
  readonly seed?: number;
  readonly grid?: boolean;
  readonly liveParameters?: boolean;
}

/** Images that are drawn before they are written, when each gets a file of its own. */
const CHUNK = 512;
/** Most images in a folder's grid.png. */
const GRID_IMAGES = 400;

type Target = "png" | "safetensors" | "folder";

/** Runs the command; returns the exit code. */
export async function sampleCommand(run: string, options: Partial<SampleCommandOptions>): Promise<number> {
  const { count = 1, out = "samples", seed, grid, liveParameters } = options;
  const target = targetOf(out);
  if (grid && target === "safetensors") {
    throw new UsageError(`--grid: expected --out to be a folder or FILE.png, found ${out}`);
  }
  await expectWritable(out, target);
  using interruption = listenForInterruption((line) => console.error(line));
  await using model = await openModel(run, deviceOptions(options), (line) => console.error(line));
  const how: SampleOptions = {
    seed: seed ?? model.config.seed,
    liveParameters: liveParameters ?? false,
    signal: interruption.signal,
  };
  if (target === "folder") await writeFolder(model, out, count, how, grid ?? false);
  else {
    const samples = await model.sample(count, how);
    if (target === "png") await writePng(out, imageGrid([panel(samples, samples.images, count)]));
    else await writeTensors(out, model, samples);
  }
  console.log(`${count} images of iteration ${model.counters.iteration} in ${out}`);
  return 0;
}

function targetOf(out: string): Target {
  const extension = extname(out).toLowerCase();
  if (extension === ".png") return "png";
  if (extension === ".safetensors") return "safetensors";
  if (extension === "") return "folder";
  throw new UsageError(`--out: expected a folder, FILE.png or FILE.safetensors, found ${out}`);
}

/** Fails before anything is computed rather than after. */
async function expectWritable(out: string, target: Target): Promise<void> {
  const folder = target === "folder" ? out : dirname(out);
  try {
    await mkdir(folder, { recursive: true });
    await access(folder, constants.W_OK);
  } catch (error) {
    throw new CoopFlowError(`cannot write ${out}: ${systemReason(error)}; choose another --out`, { cause: error });
  }
  const isFolder = await stat(out).then((found) => found.isDirectory(), () => false);
  if (target !== "folder" && isFolder) {
    throw new CoopFlowError(`cannot write ${out}: it is a folder; choose another --out`);
  }
}

async function writeFolder(
  model: CoopFlow,
  out: string,
  count: number,
  how: SampleOptions,
  grid: boolean,
): Promise<void> {
  const digits = Math.max(6, String(count - 1).length);
  for (let first = 0; first < count; first += CHUNK) {
    const samples = await model.sample(Math.min(CHUNK, count - first), { ...how, first });
    const { height, width, channels, images } = samples;
    const size = height * width * channels;
    for (let i = 0; i < samples.count; i++) {
      const image = { height, width, channels, count: 1, images: images.subarray(i * size, (i + 1) * size) };
      const name = `image_${String(first + i).padStart(digits, "0")}.png`;
      await writePng(join(out, name), imageGrid([image], { scale: 1, spacing: 0 }));
    }
    if (grid && first === 0) {
      const shown = Math.min(samples.count, GRID_IMAGES);
      const panels = [samples.proposals, images].map((values) => panel(samples, values, shown));
      await writePng(join(out, "grid.png"), imageGrid(panels));
    }
  }
}

function panel({ height, width, channels }: Samples, values: Float32Array, count: number): GridPanel {
  return { height, width, channels, count, images: values.subarray(0, count * height * width * channels) };
}

async function writeTensors(out: string, model: CoopFlow, samples: Samples): Promise<void> {
  const { count, height, width, channels, images, proposals } = samples;
  const shape = [count, height, width, channels];
  const tensors = new Map([["images", tensorOf(shape, images)], ["proposals", tensorOf(shape, proposals)]]);
  await writeSafetensors(out, tensors, new Map([["layout", "N,H,W,C"], ["levels", String(model.config.data.levels)]]));
}
