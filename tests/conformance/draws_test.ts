// Random numbers do not depend on instruction set, threads or how a batch is split; results do not depend on the run.

import { assertEquals } from "@std/assert";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { compileGraph } from "../../src/compile/compile.ts";
import * as b from "../../src/graph/build.ts";
import { Graph } from "../../src/graph/graph.ts";
import { uniforms } from "../../src/random.ts";
import type { Case } from "./case.ts";
import { type Named, openDevices, runOn } from "./devices.ts";
import { Dice } from "./dice.ts";
import { LAYER_OPS } from "./layer_ops.ts";

const SEED = 11;
const ITERATION = 3;
const ELEMENTS = [5, 101];

/** Draws for samples `first` … `first + count − 1`. */
function draws(first: number, count: number): Case {
  const graph = new Graph();
  const key = b.feed(graph, "key", [4], "u32");
  graph.fetch("u", b.uniform(key, "u", [count, ...ELEMENTS]));
  graph.fetch("n", b.normal(key, "n", [count, ...ELEMENTS]));
  return { graph, feeds: { key: Uint32Array.of(SEED, ITERATION, first, 0) }, states: {} };
}

describe("random draws", () => {
  let devices: Named[] = [];
  beforeAll(() => {
    devices = openDevices();
  });
  afterAll(() => devices.forEach(({ device }) => device.close()));

  const run = (device: Named["device"], c: Case): Promise<Record<string, Float32Array>> =>
    runOn(device, compileGraph(c.graph).bytes, c);

  it("are the same bits on every instruction set and thread count", async () => {
    const [first, ...others] = devices;
    const expected = await run(first!.device, draws(20, 6));
    for (const { device } of others) assertEquals(await run(device, draws(20, 6)), expected);
  });

  it("are the same however a batch is split", async () => {
    const { device } = devices[0]!;
    const whole = await run(device, draws(20, 6));
    const parts = [await run(device, draws(20, 2)), await run(device, draws(22, 1)), await run(device, draws(23, 3))];
    for (const name of ["u", "n"]) assertEquals(parts.flatMap((p) => [...p[name]!]), [...whole[name]!]);
  });

  it("are the ones that src/random.ts makes", async () => {
    const { u } = await run(devices[0]!.device, draws(7, 1));
    assertEquals([...u!], [...uniforms(SEED, "u", 505, { sample: 7, iteration: ITERATION })]);
  });

  it("and every other result are the same bits again", async () => {
    for (const op of ["conv", "conv_weight_grad", "matmul", "attention_grad", "mixture_grad"] as const) {
      const c = LAYER_OPS[op].make(new Dice(op, 1));
      for (const { device } of devices) assertEquals(await run(device, c), await run(device, c));
    }
  });
});
