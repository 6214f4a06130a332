import { describe, it } from "@std/testing/bdd";
import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { compileGraph } from "../../src/compile/compile.ts";
import { lower } from "../../src/compile/lower.ts";
import { parseConfig } from "../../src/coopflow/config.ts";
import type { IterationMetrics } from "../../src/coopflow/events.ts";
import { CoopFlow } from "../../src/coopflow/model.ts";
import { compileOptionsOf, learnProgram } from "../../src/coopflow/model_programs.ts";
import { presets } from "../../src/coopflow/presets.ts";
import { THREADS } from "./native.ts";
import { TINY, tinyImages } from "./support.ts";

async function metrics(recompute: boolean): Promise<IterationMetrics[]> {
  // Dropout on: the second pass must draw the same masks as the first.
  const config = { ...TINY, flow: { ...TINY.flow, dropout: 0.2 }, training: { ...TINY.training, recompute } };
  await using model = await CoopFlow.create(config, THREADS);
  const found: IterationMetrics[] = [];
  for await (const event of model.fit(tinyImages(), { iterations: 3 })) {
    if (event.type === "iteration") found.push(event.metrics);
  }
  return found;
}

describe("values made again", () => {
  it("are not made beside what they are copies of", () => {
    const config = presets.digits;
    const { instrs } = lower(learnProgram(config).graph, compileOptionsOf(config));
    const several = instrs.filter(({ op, name, outputs }) =>
      outputs.length > 1 && name.startsWith("ebm.") && (op === "map" || op === "conv")
    );
    assert(several.length > 3, `${several.length}`);
    for (const { name, attrs, outputs } of several) {
      // An expression's words end with the places of its results.
      const results = attrs.slice(-outputs.length);
      assertEquals(new Set(results).size, results.length, name);
    }
  });
});

describe("training.recompute", () => {
  it("learns the same", async () => {
    const [kept, again] = await Promise.all([metrics(false), metrics(true)]);
    assert(kept.length === 3);
    kept.forEach((m, i) => {
      for (const name of ["flowNll", "flowNorm", "ebmNorm", "change"] as const) {
        const scale = Math.max(1, Math.abs(m[name]));
        assertAlmostEquals(again[i]![name] / scale, m[name] / scale, 1e-5, name);
      }
    });
  });

  it("needs less memory", () => {
    const arena = (recompute: boolean): number => {
      const { training, ...rest } = presets.small;
      return compileGraph(learnProgram(parseConfig({ ...rest, training: { ...training, recompute } })).graph)
        .arenaBytes;
    };
    const kept = arena(false), again = arena(true);
    assert(again < 0.7 * kept, `expected less than 0.7 of ${kept} bytes, found ${again}`);
  });
});
