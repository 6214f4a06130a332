/** `deno task study kill [N]`: N (default 20) kill -9 at random moments of a training run, resumed each time; the end must be bit-identical. */
import { withFolder } from "../io/support.ts";
import { killAndResume } from "../e2e/kill_runs.ts";

export async function main(args: readonly string[]): Promise<number> {
  const kills = Number(args[0] ?? 20);
  if (!Number.isInteger(kills) || kills < 2) {
    console.error(`kill: expected a whole number of kills from 2, found ${args[0]}`);
    return 2;
  }
  await withFolder((folder) => killAndResume(folder, kills, 25 + 25 * (kills - 1)));
  console.log(`${kills} kills, resumed each time: the final checkpoint has the same bits as an uninterrupted run's`);
  return 0;
}
