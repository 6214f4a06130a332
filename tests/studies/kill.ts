/**
 * `deno task study kill [N]`: N (default 20) kill -9 at random moments of a training run, resumed each time; the end must be bit-identical.
 * `deno task study kill 2 --preset cifar10 --data PATH [--batch 4] [--iterations 20]`: of a preset at its full size, which saves a checkpoint every
 * fifth of the way; also tells the peak memory.
 */
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { killAndResume, type Killing } from "../e2e/kill_runs.ts";
import { tinyFiles } from "../cli/support.ts";
import { withFolder } from "../io/support.ts";

const OPTIONS = {
  preset: { type: "string" },
  data: { type: "string" },
  batch: { type: "string", default: "4" },
  iterations: { type: "string", default: "20" },
} as const;

/** An iteration of the tiny networks, and one at full size, in ms. */
const TINY_ITERATION = 40;
const FULL_ITERATION = 4000;

export async function main(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true });
  const { preset, data } = values;
  const [kills, batch, iterations] = [Number(positionals[0] ?? 20), Number(values.batch), Number(values.iterations)];
  if (!Number.isInteger(kills) || kills < 2) {
    console.error(`kill: expected a whole number of kills from 2, found ${positionals[0]}`);
    return 2;
  }
  if ((preset === undefined) !== (data === undefined)) {
    console.error("kill: expected --preset and --data together, found one of them");
    return 2;
  }
  if (!(batch >= 1) || !(iterations >= kills * 5)) {
    console.error(`kill: expected a batch and at least ${kills * 5} iterations, found ${batch} and ${iterations}`);
    return 2;
  }
  await withFolder(async (folder) => {
    const every = Math.floor(iterations / 5);
    const killing: Killing = preset === undefined || data === undefined
      ? { args: await tinyFiles(folder), kills, iterations: 25 * kills, margin: 25, delay: TINY_ITERATION }
      : {
        args: [
          ...["--preset", preset, "--data", resolve(data), "--batch", String(batch)],
          ...["--set", `training.checkpointEvery=${every}`],
        ],
        kills,
        iterations,
        margin: every + 1,
        delay: FULL_ITERATION,
      };
    const begin = performance.now();
    const megabytes = await killAndResume(folder, killing);
    const seconds = ((performance.now() - begin) / 1000).toFixed(0);
    console.log(`${kills} kills, resumed each time: the final checkpoint has the same bits as an uninterrupted run's`);
    console.log(`${killing.iterations} iterations twice in ${seconds} s, peak memory ${megabytes.toFixed(0)} MB`);
  });
  return 0;
}
