import { describe, it } from "@std/testing/bdd";
import { withFolder } from "../io/support.ts";
import { killAndResume } from "./kill_runs.ts";

const KILLS = 5;

describe("kill -9", () => {
  it(`at ${KILLS} moments, resumed each time, ends with the same bits as an uninterrupted run`, async () => {
    await withFolder((folder) => killAndResume(folder, KILLS, 150));
  });
});
