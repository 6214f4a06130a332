/** `coopflow toy2d`. */
import { extname } from "node:path";
import { UsageError } from "../errors.ts";
import { DEFAULT_DENSITY, type DensityName } from "../coopflow/toy2d/densities.ts";
import { BINS, type Divergence } from "../coopflow/toy2d/evaluate.ts";
import { toy2dPicture } from "../coopflow/toy2d/picture.ts";
import { toy2d, type Toy2dResult } from "../coopflow/toy2d/toy2d.ts";
import { writePng } from "../io/png.ts";
import { listenForInterruption } from "./interruption.ts";
import { deviceOptions } from "../runtime/device.ts";
import type { DeviceFlags } from "./options.ts";
import { expectWritable } from "./output.ts";
import { duration } from "./progress.ts";
import { Rate } from "./rate.ts";
import { textTable } from "./text_table.ts";

/** The options of the command. */
export interface Toy2dCommandOptions extends DeviceFlags {
  readonly density?: DensityName;
  readonly noiseFree?: boolean;
  readonly iterations?: number;
  readonly samples?: number;
  readonly seed?: number;
  readonly out?: string;
  readonly json?: boolean;
}

/** What each figure is of. */
const ROWS: readonly { readonly key: keyof Toy2dResult["divergences"]; readonly what: string }[] = [
  { key: "flow", what: "flow's density" },
  { key: "energy", what: "energy, normalised" },
  { key: "proposals", what: "proposals, counted" },
  { key: "revised", what: "revised, counted" },
  { key: "truth", what: "truth's points, counted" },
];

/** Runs the command; returns the exit code. */
export async function toy2dCommand(options: Toy2dCommandOptions): Promise<number> {
  const { density = DEFAULT_DENSITY, noiseFree = false, iterations, samples, seed, out, json } = options;
  if (out !== undefined && extname(out).toLowerCase() !== ".png") {
    throw new UsageError(`--out: expected FILE.png, found ${out}`);
  }
  if (out !== undefined) await expectWritable(out);
  using interruption = listenForInterruption((line) => console.error(line));
  using rate = new Rate("iterations");
  const result = await toy2d(density, {
    ...deviceOptions(options),
    noise: !noiseFree,
    ...(iterations === undefined ? {} : { iterations }),
    ...(samples === undefined ? {} : { samples }),
    ...(seed === undefined ? {} : { seed }),
    signal: interruption.signal,
    onIteration: (done, total) => rate.update(done, total),
  });
  if (out !== undefined) await writePng(out, toy2dPicture(result));
  const { grids: _, points, ...figures } = result;
  if (json === true) console.log(JSON.stringify({ ...figures, samples: points.truth.length / 2 }));
  else for (const line of linesOf(result)) console.log(line);
  return 0;
}

function linesOf({ density, noise, iterations, seconds, divergences, points }: Toy2dResult): string[] {
  const row = (what: string, { kl, tv }: Divergence): string[] => [what, kl.toFixed(3), tv.toFixed(3)];
  const how = noise ? "noisy chains" : "noise-free chains";
  return [
    `${density}, ${how}, averaged parameters, ${iterations} iterations in ${duration(seconds)}`,
    ...textTable(
      ["distance to the truth", "KL, nats", "total variation"],
      ROWS.map(({ key, what }) => row(what, divergences[key])),
    ),
    `counted: ${(points.truth.length / 2).toLocaleString("en-US")} points in ${BINS}×${BINS} bins`,
  ];
}
