// The golden tensors, through the native runtime and (the quick ones) through the float64 interpreter.

import { assertEquals } from "@std/assert";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { kindOf } from "../../src/cli/parity/cases.ts";
import type { Execute } from "../../src/cli/parity/execute.ts";
import { NativeExecutor } from "../../src/cli/parity/native_executor.ts";
import { type CaseFile, formatResult, listCases, runCase } from "../../src/cli/parity/parity.ts";
import { buildInfo } from "../../src/runtime/device.ts";
import { onEmulatedGpu } from "../support/emulated_gpu.ts";
import { interpret } from "../support/interpreter.ts";

const GOLDEN = new URL("../../../shared/golden", import.meta.url).pathname;

function exists(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch {
    return false;
  }
}

const found = exists(GOLDEN);
// Opens the library before any test: it stays open for good, and a test that opened it would count as leaking it.
buildInfo();
const cases: readonly CaseFile[] = found ? await listCases(GOLDEN) : [];
/** Made by `make_goldens.py`. */
const own: readonly CaseFile[] = await listCases(new URL("golden", import.meta.url).pathname);
const absent = { ignore: !found, reason: "no golden tensors beside the repository (../shared/golden)" };

/** What has convolutions and products, seconds each when emulated. */
const NETWORKS = ["conv_attn_block", "coupling", "coupling_network", "energy_plain", "energy_res", "flow"];

/** What takes the interpreter minutes. */
const SLOW = ["langevin", "learning", "paper", "reconstruct"];

describe("parity with the reference", absent, () => {
  let executor: NativeExecutor | undefined;
  beforeAll(() => {
    executor = new NativeExecutor();
  });
  afterAll(() => executor?.close());

  for (const file of cases) {
    it(file.name, async () => {
      const result = await runCase(file, executor!.execute);
      assertEquals(result.status, "passed", formatResult(result));
    });
  }
  if (cases.length === 0) it("golden tensors", absent, () => {});
});

// The launch lists and kernels of the CUDA backend, run on the host: correct, and slow.
describe("parity on the emulated GPU", absent, () => {
  let executor: NativeExecutor | undefined;
  beforeAll(() => {
    executor = onEmulatedGpu((device) => new NativeExecutor(device));
  });
  afterAll(() => executor?.close());

  for (const file of cases.filter(({ name }) => !SLOW.includes(kindOf(name)?.kind ?? ""))) {
    it(file.name, async () => {
      const result = await runCase(file, executor!.execute);
      assertEquals(result.status, "passed", formatResult(result));
    });
  }
  if (cases.length === 0) it("golden tensors", absent, () => {});
});

// Factors rounded as tensor cores round them.
for (const precision of ["tf32", "bf16"] as const) {
  describe(`parity on the emulated GPU in ${precision}`, absent, () => {
    let executor: NativeExecutor | undefined;
    beforeAll(() => {
      executor = onEmulatedGpu((device) => new NativeExecutor({ ...device, precision }));
    });
    afterAll(() => executor?.close());

    for (const file of cases.filter(({ name }) => NETWORKS.includes(kindOf(name)?.kind ?? ""))) {
      it(file.name, async () => {
        const result = await runCase(file, executor!.execute, precision);
        assertEquals(result.status, "passed", formatResult(result));
      });
    }
    if (cases.length === 0) it("golden tensors", absent, () => {});
  });
}

describe("parity of the models themselves, in float64", absent, () => {
  for (const file of cases.filter(({ name }) => !SLOW.includes(kindOf(name)?.kind ?? ""))) {
    it(file.name, async () => {
      const result = await runCase(file, (graph, feeds, states) => interpret(graph, { feeds, states }));
      assertEquals(result.status, "passed", formatResult(result));
    });
  }
  if (cases.length === 0) it("golden tensors", absent, () => {});
});

const RUNNERS: readonly [name: string, open: () => { readonly execute: Execute; close?(): void }][] = [
  ["natively", () => new NativeExecutor()],
  ["on the emulated GPU", () => onEmulatedGpu((device) => new NativeExecutor(device))],
  ["in float64", () => ({ execute: (graph, feeds, states) => interpret(graph, { feeds, states }) })],
];

describe("parity with PyTorch of what the reference does not have", () => {
  for (const [name, open] of RUNNERS) {
    describe(name, () => {
      let runner: ReturnType<typeof open> | undefined;
      beforeAll(() => {
        runner = open();
      });
      afterAll(() => runner?.close?.());

      for (const file of own) {
        it(file.name, async () => {
          const result = await runCase(file, runner!.execute);
          assertEquals(result.status, "passed", formatResult(result));
        });
      }
    });
  }
});
