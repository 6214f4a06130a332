import { describe, it } from "@std/testing/bdd";
import { assertAlmostEquals, assertEquals } from "@std/assert";
import { groupBy, kindOf, layerOf, totalOf } from "../../../src/cli/profile/group.ts";
import { PROFILE } from "./support.ts";

const SCOPES: readonly [scope: string, layer: string, kind: string][] = [
  ["langevin.ebm.f.2.conv1", "langevin.ebm.f.2", "langevin.ebm.f.*.conv1"],
  [
    "flow.flows.next.checkers.10.nn.mid_convs.0.attn",
    "flow.flows.next.checkers.10",
    "flow.flows.next.checkers.*.nn.mid_convs.*.attn",
  ],
  ["flow.flows.checkers.2", "flow.flows.checkers.2", "flow.flows.checkers.*"],
  ["adam.flow", "adam.flow", "adam.flow"],
  ["norm_1.conv2d", "norm_1.conv2d", "norm_1.conv2d"],
  ["0.weight", "0", "*.weight"],
  ["", "(no layer)", "(no layer)"],
];

describe("layerOf and kindOf", () => {
  for (const [scope, layer, kind] of SCOPES) {
    it(scope === "" ? "of an empty scope" : `of ${scope}`, () => {
      assertEquals(layerOf(scope), layer);
      assertEquals(kindOf(scope), kind);
    });
  }
});

describe("groupBy", () => {
  it("sums seconds, and flops and bytes with every call of a loop's body, the longest first", () => {
    assertEquals(groupBy(PROFILE.entries, ({ name }) => layerOf(name)), [
      { name: "flow.flows.checkers.2", seconds: 0.004, calls: 1, flops: 4e8, bytes: 8e6 },
      { name: "langevin.ebm.f.2", seconds: 0.003, calls: 4, flops: 2.02e8, bytes: 6e6 },
      { name: "flow.flows.checkers.4", seconds: 0.002, calls: 1, flops: 4e8, bytes: 8e6 },
      { name: "(no layer)", seconds: 0.001, calls: 1, flops: 0, bytes: 1e6 },
    ]);
  });

  it("counts all the same whatever it groups by", () => {
    for (const key of ["op", "name", "index"] as const) {
      const total = totalOf(groupBy(PROFILE.entries, (entry) => String(entry[key])));
      assertAlmostEquals(total.seconds, 0.01, 1e-12);
      assertEquals([total.calls, total.flops, total.bytes], [7, 1.002e9, 2.3e7]);
    }
  });

  it("gives nothing of nothing", () => {
    assertEquals(groupBy([], ({ op }) => op), []);
    assertEquals(totalOf([]), { name: "all", seconds: 0, calls: 0, flops: 0, bytes: 0 });
  });
});
