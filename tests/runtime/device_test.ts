import { describe, it } from "@std/testing/bdd";
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { compileGraph } from "../../src/compile/compile.ts";
import { CancelledError, NativeError, UsageError } from "../../src/errors.ts";
import { add, feed, map, matmul, mul, repeat, state } from "../../src/graph/build.ts";
import { E } from "../../src/graph/expr.ts";
import { Graph } from "../../src/graph/graph.ts";
import { buildInfo, Device } from "../../src/runtime/device.ts";
import { onEmulatedGpu } from "../support/emulated_gpu.ts";

// Opened before any test begins: the library stays open, and the first test would be called its leak.
buildInfo();

/** y = w·x; w becomes w + 1. */
function counting(): Uint8Array<ArrayBuffer> {
  const g = new Graph();
  const w = state(g, "w", [4]);
  g.fetch("y", mul(w, feed(g, "x", [4])));
  g.assign("w", add(w, 1));
  return compileGraph(g).bytes;
}

/** Products that take many seconds, then w becomes w + 1. */
function endless(): Uint8Array<ArrayBuffer> {
  const g = new Graph();
  const w = state(g, "w", [4]);
  const a = feed(g, "a", [1, 256, 256]);
  const end = repeat(g, 200_000, [a], ([x]) => ({ carried: [map([matmul(x!, a)], (v) => E.clamp(v, -1, 1))] }));
  g.fetch("end", end.carried[0]!);
  g.assign("w", add(w, 1));
  return compileGraph(g).bytes;
}

const X = Float32Array.of(1, 2, 3, 4);
const BIG = { a: new Float32Array(256 * 256).fill(0.01) };

function ready(): Device {
  const device = Device.open({ threads: 2 });
  device.setState("w", Float32Array.of(1, 1, 1, 1), [4]);
  return device;
}

function withPlugin<T>(path: string, body: () => T): T {
  const before = Deno.env.get("COOPFLOW_CUDA_PLUGIN");
  Deno.env.set("COOPFLOW_CUDA_PLUGIN", path);
  try {
    return body();
  } finally {
    if (before === undefined) Deno.env.delete("COOPFLOW_CUDA_PLUGIN");
    else Deno.env.set("COOPFLOW_CUDA_PLUGIN", before);
  }
}

describe("Device", () => {
  it("refuses options out of range, and instruction sets that are not there", () => {
    assertThrows(
      () => Device.open({ threads: -1 }),
      UsageError,
      "threads: expected a whole number from 0 to 1024, found -1",
    );
    const missing = (["amx", "avx512", "avx2", "portable"] as const).find((isa) => !buildInfo().isa.includes(isa));
    if (missing) assertThrows(() => Device.open({ isa: missing }), NativeError);
  });

  it("takes a GPU on its own where there is one, else the CPU, and says why; a GPU that was asked for is missed aloud", () => {
    using gpu = onEmulatedGpu(() => Device.open());
    assertEquals([gpu.info.device, gpu.info.reason], ["cuda:0", "a GPU is there"]);
    using auto = withPlugin("/nowhere/libcoopflow_cuda.so", () => Device.open());
    assertEquals([auto.info.device, auto.info.reason], ["cpu", "built without a CUDA backend"]);
    using own = onEmulatedGpu(() => Device.open({ isa: "portable" }));
    assertEquals([own.info.device, own.info.isa], ["cpu", "portable"]);
    const error = withPlugin(
      "/nowhere/libcoopflow_cuda.so",
      () => assertThrows(() => Device.open({ device: "cuda" }), NativeError, "install a CUDA toolkit"),
    );
    assert(error instanceof NativeError && error.code === 6);
    using chosen = Device.open({ device: "cpu" });
    assert(chosen.info.reason === undefined);
    for (const precision of ["bf16", "tf32"] as const) {
      assertThrows(
        () => Device.open({ device: "cpu", precision }),
        UsageError,
        `float32 only, found ${precision}: Winograd`,
      );
    }
  });

  it("chooses float32 on the CPU when left the choice, and says why", () => {
    using chosen = Device.open({ device: "cpu", precision: "auto" });
    assertEquals(chosen.info.precision, "float32");
    assertEquals(chosen.info.precisionReason, "on the CPU Winograd's convolutions in it are faster than bf16");
    using told = Device.open({ device: "cpu" });
    assertEquals([told.info.precision, told.info.precisionReason], ["float32", undefined]);
  });

  it("runs a program, and assigns take effect together after each run", async () => {
    using device = ready();
    const program = device.load(counting());
    for (const times of [1, 2, 3]) assertEquals([...(await program.run({ x: X })).y!], [...X].map((v) => v * times));
    assertEquals([...device.getState("w", 4)], [4, 4, 4, 4]);
    assertEquals(device.listState().map(({ name, shape }) => ({ name, shape })), [{ name: "w", shape: [4] }]);
  });

  it("refuses feeds and fetches that do not fit, naming what it has", async () => {
    using device = ready();
    const program = device.load(counting());
    await assertRejects(() => program.run({}), UsageError, "feed x: expected f32 of shape [4], found nothing");
    await assertRejects(() => program.run({ x: X, z: X }), UsageError, "feed: expected one of x, found z");
    await assertRejects(
      () => program.run({ x: Float32Array.of(1) }),
      UsageError,
      "feed x: expected 4 f32 values of shape [4], found 1 f32",
    );
    await assertRejects(() => program.run({ x: Uint32Array.of(1, 2, 3, 4) }), UsageError, "found 4 u32 values");
    await assertRejects(() => program.run({ x: X }, ["z"]), UsageError, "fetch: expected one of y, found z");
  });

  it("names state that is missing, or of another shape", () => {
    using device = Device.open({ threads: 1 });
    assertThrows(() => device.load(counting()), NativeError, "w");
    device.setState("w", Float32Array.of(1, 2), [2]);
    assertThrows(() => device.load(counting()), NativeError, "w");
    assertThrows(() => device.getState("nothing", 4), NativeError, "nothing");
  });

  it("refuses a program whose bytes were altered anywhere", () => {
    using device = ready();
    const good = counting();
    for (let i = 0; i < good.length; i += 13) {
      const bad = good.slice();
      bad[i]! ^= 0x11;
      assertThrows(() => device.load(bad), NativeError);
    }
    assertThrows(() => device.load(good.slice(0, 0)), NativeError, "expected a program, found no bytes");
  });

  it("cancels within 100 ms, and leaves state as it was", async () => {
    using device = ready();
    const program = device.load(endless());
    const run = program.run(BIG);
    await new Promise((resolve) => setTimeout(resolve, 150));
    const { done, total, committing } = device.progress();
    assert(done > 0 && done < total && !committing, `${done} of ${total}`);
    const begin = performance.now();
    device.cancel();
    await assertRejects(() => run, CancelledError);
    const took = performance.now() - begin;
    assert(took < 100, `expected less than 100 ms, found ${took}`);
    assertEquals([...device.getState("w", 4)], [1, 1, 1, 1]);
  });

  it("gives its memory back: what programs and state took is gone when they are", async () => {
    using device = ready();
    const before = device.info;
    for (let i = 0; i < 20; i++) {
      using program = device.load(counting());
      await program.run({ x: X });
    }
    const { arena_bytes, scratch_bytes, state_bytes } = device.info;
    assertEquals([arena_bytes, scratch_bytes, state_bytes], [
      before.arena_bytes,
      before.scratch_bytes,
      before.state_bytes,
    ]);
    device.removeState("w");
    assertEquals(device.info.state_bytes, 0);
  });

  it("closes while a program runs, and says so to whoever waits or comes later", async () => {
    const device = ready();
    const program = device.load(endless());
    const run = program.run(BIG);
    await new Promise((resolve) => setTimeout(resolve, 50));
    device.close();
    device.close();
    await assertRejects(() => run);
    assertThrows(() => device.info, NativeError, "expected an open device, found a closed one");
    await assertRejects(() => program.run(BIG), NativeError, "expected an open program, found a closed one");
  });

  it("measures each instruction when asked", async () => {
    using device = ready();
    const program = device.load(counting());
    await program.run({ x: X });
    program.profile(true);
    await program.run({ x: X });
    await program.run({ x: X });
    program.profile(false);
    await program.run({ x: X });
    const { entries, executions } = program.profileReport();
    assertEquals(entries.length, program.info.instructions);
    assert(entries.every((entry) => entry.op === "map" && entry.calls === 2 && entry.seconds >= 0));
    // y = w·x and w + 1 are one map that reads two rows of four and writes two; the commit copies one.
    assertEquals(entries.map(({ bytes }) => bytes), [64, 32]);
    assertEquals(executions.map(({ index }) => index), [0, 1, 0, 1]);
    executions.forEach(({ begin, seconds }, i) => {
      const before = executions[i - 1];
      assert(begin >= (before === undefined ? 0 : before.begin + before.seconds - 1e-9) && seconds >= 0);
    });
    for (const { index, seconds } of entries) {
      const parts = executions.filter((execution) => execution.index === index);
      assert(Math.abs(parts.reduce((sum, part) => sum + part.seconds, 0) - seconds) < 1e-9);
    }
  });

  it("counts every call, and keeps the first 262,144 executions", async () => {
    using device = Device.open({ threads: 1 });
    const g = new Graph();
    g.fetch("y", repeat(g, 263_000, [feed(g, "x", [4])], ([x]) => ({ carried: [mul(x!, -1)] })).carried[0]!);
    const program = device.load(compileGraph(g).bytes);
    program.profile(true);
    await program.run({ x: X });
    const { entries, executions } = program.profileReport();
    assertEquals(entries.some(({ calls }) => calls === 263_000), true);
    assertEquals(executions.length, 262_144);
    program.profile(true);
    assertEquals(program.profileReport().executions.length, 0);
  });

  it("refuses to measure while the program runs", async () => {
    using device = ready();
    const program = device.load(endless());
    const run = program.run(BIG);
    await new Promise((resolve) => setTimeout(resolve, 50));
    assertThrows(() => program.profile(true), NativeError, "the program is running");
    assertThrows(() => program.profileReport(), NativeError, "the program is running");
    device.cancel();
    await assertRejects(() => run, CancelledError);
  });
});
