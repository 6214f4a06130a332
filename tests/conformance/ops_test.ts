// Every op on every device against the float64 interpreter.

import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import type { Op } from "../../src/graph/attrs.ts";
import type { Generator } from "./case.ts";
import { CASES, checkCase, type Named, openDevices } from "./devices.ts";
import { Dice } from "./dice.ts";
import { LAYER_OPS } from "./layer_ops.ts";
import { TENSOR_OPS } from "./tensor_ops.ts";

/** One generator per op: a missing one does not compile. */
const GENERATORS: Readonly<Record<Op, Generator>> = { ...TENSOR_OPS, ...LAYER_OPS };

describe("conformance", () => {
  let devices: Named[] = [];
  beforeAll(() => {
    devices = openDevices();
  });
  afterAll(() => devices.forEach(({ device }) => device.close()));

  for (const op of Object.keys(GENERATORS) as Op[]) {
    const { make, tolerance, reason } = GENERATORS[op];
    it(`${op}: ${tolerance === 0 ? "exact" : `within ${tolerance}`} (${reason})`, async () => {
      for (let seed = 0; seed < CASES; seed++) {
        await checkCase(
          devices.filter(({ cases }) => seed < cases),
          make(new Dice(op, seed)),
          tolerance,
          `${op}, case ${seed}`,
        );
      }
    });
  }
});
