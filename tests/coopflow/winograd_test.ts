import { describe, it } from "@std/testing/bdd";
import { assert, assertEquals } from "@std/assert";
import { compileGraph } from "../../src/compile/compile.ts";
import { disassemble } from "../../src/compile/disassemble.ts";
import { lower } from "../../src/compile/lower.ts";
import { parseConfig } from "../../src/coopflow/config.ts";
import { CoopFlow } from "../../src/coopflow/model.ts";
import { compileOptionsOf, learnProgram } from "../../src/coopflow/model_programs.ts";
import { namesIn, withFolder } from "../io/support.ts";
import { THREADS } from "./native.ts";
import { TINY, tinyImages } from "./support.ts";

/** Channels enough for Winograd. */
const WIDE = { ...TINY, flow: { ...TINY.flow, channels: 16 }, energy: { channels: 16 } };

const withWinograd = (winograd: boolean) => parseConfig({ ...WIDE, compute: { winograd } });

/** Convolutions of the learning program that a program's text says Winograd computes, and all of them. */
function convolutions(winograd: boolean): { winograd: number; all: number } {
  const config = withWinograd(winograd);
  const { graph } = learnProgram(config);
  const text = disassemble(compileGraph(graph, compileOptionsOf(config)).bytes);
  assertEquals(text.includes("winograd_weights("), winograd);
  const convs = lower(graph, compileOptionsOf(config)).instrs.filter(({ op }) => op.startsWith("conv"));
  return { winograd: convs.filter(({ attrs }) => attrs[2] === 1).length, all: convs.length };
}

describe("compute.winograd", () => {
  it("false compiles programs without it, of the same convolutions", () => {
    const fast = convolutions(true), direct = convolutions(false);
    assert(fast.winograd > 10, `${fast.winograd} of ${fast.all}`);
    assertEquals(direct, { winograd: 0, all: fast.all });
  });

  it("changes what is learnt by rounding only, and is a cache entry of its own", async () => {
    await withFolder(async (cache) => {
      const before = Deno.env.get("COOPFLOW_CACHE");
      Deno.env.set("COOPFLOW_CACHE", cache);
      try {
        const learnt: number[][] = [];
        for (const winograd of [true, false]) {
          await using model = await CoopFlow.create(withWinograd(winograd), THREADS);
          assertEquals(model.config.compute.winograd, winograd);
          for await (const event of model.fit(tinyImages(), { iterations: 1 })) {
            if (event.type !== "iteration") continue;
            const { flowNll, fProposal, fRevised, fData, change } = event.metrics;
            learnt.push([flowNll, fProposal, fRevised, fData, change]);
          }
        }
        const [fast, direct] = learnt as [number[], number[]];
        // Different roundings, or the option did nothing; 1e-4: a few thousand float32 roundings in a row.
        assert(fast.some((value, i) => value !== direct[i]));
        fast.forEach((value, i) => {
          const other = direct[i]!;
          assert(Math.abs(value - other) <= 1e-4 * (1 + Math.abs(other)), `${i}: ${value} and ${other}`);
        });
        assertEquals(namesIn(cache).length, 4); // initialise and learn, each twice
      } finally {
        if (before === undefined) Deno.env.delete("COOPFLOW_CACHE");
        else Deno.env.set("COOPFLOW_CACHE", before);
      }
    });
  });
});
