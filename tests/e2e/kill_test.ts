import { describe, it } from "@std/testing/bdd";
import { tinyFiles } from "../cli/support.ts";
import { withFolder } from "../io/support.ts";
import { killAndResume } from "./kill_runs.ts";

const KILLS = 5;

describe("kill -9", () => {
  it(`at ${KILLS} moments, resumed each time, ends with the same bits as an uninterrupted run`, async () => {
    await withFolder(async (folder) => {
      const args = await tinyFiles(folder);
      await killAndResume(folder, { args, kills: KILLS, iterations: 150, margin: 25, delay: 40 });
    });
  });
});
