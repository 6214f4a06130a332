// Every instruction set of this machine, on one thread and on two, and the GPU backend: on a GPU, else on its host emulation.

import { compileGraph } from "../../src/compile/compile.ts";
import { numel } from "../../src/graph/shape.ts";
import { NativeError } from "../../src/errors.ts";
import { buildInfo, Device, isDeviceName } from "../../src/runtime/device.ts";
import { STATUS } from "../../src/runtime/library.ts";
import { assert } from "@std/assert";
import { onEmulatedGpu } from "../support/emulated_gpu.ts";
import { interpret } from "../support/interpreter.ts";
import type { Case } from "./case.ts";

/** A device and what it is called in messages. */
export interface Named {
  readonly name: string;
  readonly device: Device;
  /** How many of an op's cases run there. */
  readonly cases: number;
}

/** Cases per op, each with a seed of its own. */
export const CASES = 20;
/** On the emulated GPU, where the C++ compiler makes every case's kernels. */
const EMULATED_CASES = 4;

// Asked when this file is loaded: the library stays open for good, and a test that opened it would count as leaking it.
const { isa: INSTRUCTION_SETS } = buildInfo();

/** A real GPU where there is one. */
function openGpu(): Named {
  try {
    return { name: "GPU", device: Device.open({ device: "cuda" }), cases: CASES };
  } catch (error) {
    if (!(error instanceof NativeError) || error.code !== STATUS.unsupported) throw error;
    return { name: "emulated GPU", device: onEmulatedGpu(Device.open), cases: EMULATED_CASES };
  }
}

/** Opens one device per instruction set and thread count, and a GPU or its emulation; with COOPFLOW_TEST_DEVICE only the device that it names. */
export function openDevices(): Named[] {
  const only = Deno.env.get("COOPFLOW_TEST_DEVICE");
  if (only !== undefined) {
    assert(isDeviceName(only), `COOPFLOW_TEST_DEVICE: expected a device, found ${only}`);
    return [{ name: only, device: Device.open({ device: only }), cases: CASES }];
  }
  return [
    ...INSTRUCTION_SETS.flatMap((isa) =>
      [1, 2].map((threads) => ({
        name: `${isa}, ${threads} threads`,
        device: Device.open({ isa, threads }),
        cases: CASES,
      }))
    ),
    openGpu(),
  ];
}

/** Results of a case on one device. */
export async function runOn(
  device: Device,
  bytes: Uint8Array<ArrayBuffer>,
  c: Case,
): Promise<Record<string, Float32Array>> {
  for (const node of c.graph.nodes) {
    if (node.op === "state") device.setState(node.attrs.name, c.states[node.attrs.name]!, node.attrs.shape);
  }
  using program = device.load(bytes);
  const wanted = new Set(program.info.feeds.map((f) => f.name));
  const results = await program.run(Object.fromEntries(Object.entries(c.feeds).filter(([name]) => wanted.has(name))));
  program.close();
  for (const name of Object.keys(c.states)) device.removeState(name);
  return results;
}

/** Compares every result of a case on every device with the float64 interpreter. */
export async function checkCase(devices: readonly Named[], c: Case, tolerance: number, what: string): Promise<void> {
  const { bytes } = compileGraph(c.graph);
  const expected = interpret(c.graph, c).fetches;
  for (const { name, device } of devices) {
    const found = await runOn(device, bytes, c);
    for (const { name: tensor, value } of c.graph.results) {
      const [want, got] = [expected[tensor]!, found[tensor]!];
      assert(
        got.length === numel(value.shape),
        `${what}: expected ${numel(value.shape)} elements, found ${got.length}`,
      );
      const scale = want.reduce((a, v) => Math.max(a, Math.abs(v)), tolerance === 0 ? 0 : 1e-3);
      want.forEach((v, i) => {
        const close = Object.is(Math.fround(v), got[i]) || Math.abs(v - got[i]!) <= tolerance * scale;
        assert(
          close,
          `${what} on ${name}: expected ${tensor}[${i}] = ${v}, found ${got[i]} (${
            (Math.abs(v - got[i]!) / scale).toExponential(1)
          } over ${tolerance})`,
        );
      });
    }
  }
}
