import { describe, it } from "@std/testing/bdd";
import { assert, assertEquals, assertMatch } from "@std/assert";
import type { Peaks } from "../../../src/cli/profile/peaks.ts";
import { profileLines } from "../../../src/cli/profile/table.ts";
import { PROFILE } from "./support.ts";

const PEAKS: Peaks = { gemmOneThread: 120, gemm: 200, copy: 20, threads: 2 };

/** The lines of one table. */
function table(lines: readonly string[], title: string): string[] {
  const from = lines.findIndex((line) => line.startsWith(`${title} `));
  return lines.slice(from, lines.indexOf("", from));
}

describe("profileLines", () => {
  it("gives time, share, calls and rates against the peaks", () => {
    assertEquals(table(profileLines(PROFILE, 1, PEAKS), "by operation"), [
      "by operation     ms    share  calls  GFLOP/s  of peak    MB  GB/s  of peak",
      "conv           6.00   60.0 %      2    133.3   66.7 %  16.0   2.7   13.3 %",
      "matmul         2.00   20.0 %      2    100.0   50.0 %   2.0   1.0    5.0 %",
      "map            2.00   20.0 %      3      1.0    0.5 %   5.0   2.5   12.5 %",
      "all           10.00  100.0 %      7    100.2   50.1 %  23.0   2.3   11.5 %",
    ]);
  });

  it("has a table by layer, one by kind of layer and one by instruction, and says what it was measured against", () => {
    const lines = profileLines(PROFILE, 3, PEAKS);
    assertEquals(table(lines, "by layer").map((line) => line.split(" ")[0]), [
      "by",
      "flow.flows.checkers.2",
      "langevin.ebm.f.2",
      "flow.flows.checkers.4",
      "(no",
      "all",
    ]);
    assertMatch(table(lines, "by kind of layer")[1] ?? "", /^flow\.flows\.checkers\.\*\.nn\.in_conv\.conv {2,}6\.00 /);
    assertMatch(table(lines, "by instruction")[1] ?? "", /^0 conv flow\.flows\.checkers\.2\.nn\.in_conv\.conv /);
    assert(
      lines.includes("3 runs together; peaks: matrix product 120 GFLOP/s on one thread, 200 on 2; copy 20.0 GB/s"),
      lines.join("\n"),
    );
  });

  it("sums what a table has no room for", () => {
    const entries = Array.from({ length: 23 }, (_, i) => ({ ...PROFILE.entries[0]!, index: i, name: `layer.${i}` }));
    const layers = table(profileLines({ entries, executions: [] }, 1, PEAKS), "by layer");
    assertEquals(layers.length, 1 + 20 + 2);
    assertMatch(layers.at(-2) ?? "", /^3 more +12\.00 +13\.0 % +3 /);
    assertMatch(layers.at(-1) ?? "", /^all +92\.00 +100\.0 % +23 /);
  });
});
