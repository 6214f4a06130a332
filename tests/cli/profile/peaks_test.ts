import { describe, it } from "@std/testing/bdd";
import { assert, assertEquals } from "@std/assert";
import { measurePeaks, peaksLine } from "../../../src/cli/profile/peaks.ts";
import { buildInfo } from "../../../src/runtime/device.ts";

// Opened before any test begins: the library stays open, and the first test would be called its leak.
buildInfo();

describe("measurePeaks", () => {
  it("gives rates that a processor can have", async () => {
    const peaks = await measurePeaks({ device: "cpu" }, { threads: 1 });
    assertEquals(peaks.gemm, peaks.gemmOneThread);
    // No core does more than 2 × 2 × 16 float32 operations a cycle and 6 GHz; every core does more than one a microsecond.
    assert(peaks.gemm > 0.01 && peaks.gemm < 400, `${peaks.gemm} GFLOP/s`);
    assert(peaks.copy > 0.1 && peaks.copy < 2000, `${peaks.copy} GB/s`);
    assert(peaks.gemm > peaks.copy / 8, "a matrix product is bound by memory");
  });
});

describe("peaksLine", () => {
  it("names one thread's rate once", () => {
    assertEquals(
      peaksLine({ gemmOneThread: 80.4, gemm: 80.4, copy: 20.06, threads: 1 }),
      "matrix product 80 GFLOP/s on one thread; copy 20.1 GB/s",
    );
    assertEquals(
      peaksLine({ gemmOneThread: 51_000, gemm: 51_000, copy: 2400, threads: 0 }),
      "matrix product 51000 GFLOP/s; copy 2400.0 GB/s",
    );
  });
});
