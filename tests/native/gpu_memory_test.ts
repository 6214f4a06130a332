/** What people are told when a program does not fit a GPU's memory. */
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { compileGraph } from "../../src/compile/compile.ts";
import { batchThatFits } from "../../src/coopflow/batch_that_fits.ts";
import { parseConfig } from "../../src/coopflow/config.ts";
import { Engine } from "../../src/coopflow/engine.ts";
import { compileOptionsOf } from "../../src/coopflow/model_programs.ts";
import { buildProgram, type ProgramRequest } from "../../src/coopflow/program_request.ts";
import { freshValues, modelStates } from "../../src/coopflow/states.ts";
import { NativeError } from "../../src/errors.ts";
import { buildInfo } from "../../src/runtime/device.ts";
import { STATUS } from "../../src/runtime/library.ts";
import { onEmulatedGpu } from "../support/emulated_gpu.ts";
import { TINY } from "../coopflow/support.ts";

buildInfo();

const BATCH = 4096;

function request(batch: number): ProgramRequest {
  return { kind: "density", averaged: {}, config: parseConfig({ ...TINY, training: { ...TINY.training, batch } }) };
}

function arenaOf(batch: number): number {
  const asked = request(batch);
  return compileGraph(buildProgram(asked).graph, compileOptionsOf(asked.config)).arenaBytes;
}

describe("a GPU with too little memory", () => {
  it("is told of with what was needed, for what, and the batch that would fit", async () => {
    const { config } = request(BATCH);
    const memory = arenaOf(BATCH);
    using engine = onEmulatedGpu(
      (device) => Engine.open(device, modelStates(config).all, freshValues(config.seed)),
      memory,
    );
    const error = await assertRejects(() => engine.program("whole", request(BATCH)), NativeError);
    assertEquals(error.code, STATUS.outOfMemory);
    assertMatch(error.message, /^not enough memory on the emulated GPU for the arena of temporaries: /);
    assertMatch(error.message, /The program needs [\d.]+ MiB beside [\d.]+ MiB of state: [\d.]+ MiB of temporaries/);
    assertMatch(error.message, /\(the largest: [\d.]+ MiB by \w+ of \w[^,]*, [\d.]+ MiB by \w+ of \w/);
    const fits = Number(/a batch of (\d+) would fit/.exec(error.message)?.[1]);
    // Scratch, feeds, fetches and state need a quarter of it.
    assert(fits > 0.65 * BATCH && fits < 0.85 * BATCH, error.message);
    await engine.program("less", request(fits));
  });

  it("may have too little for any batch", async () => {
    const needed = (batch: number): number => 100 + 3 * batch;
    const fits = (batch: number, free: number, beside = 1): Promise<number> =>
      batchThatFits({
        batch,
        free,
        needed: beside * needed(batch),
        arena: (batch) => Promise.resolve(needed(batch)),
      });
    assertEquals(await fits(64, 250 / 0.98), 50);
    assertEquals(await fits(64, 250 / 0.98, 1.25), 33);
    assertEquals(await fits(64, 90), 0);
    assertEquals(await fits(1, 90), 0);
  });
});
