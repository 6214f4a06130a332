import { describe, it } from "@std/testing/bdd";
import { assert, assertEquals } from "@std/assert";
import { compileGraph } from "../../src/compile/compile.ts";
import { parseConfig } from "../../src/coopflow/config.ts";
import { learnProgram } from "../../src/coopflow/model_programs.ts";
import type { PresetName } from "../../src/coopflow/preset_names.ts";
import { presets } from "../../src/coopflow/presets.ts";
import { freshValues, modelStates } from "../../src/coopflow/states.ts";
import { Device } from "../../src/runtime/device.ts";
import { THREADS } from "./native.ts";
import { TINY } from "./support.ts";

/** Megabytes that the temporaries of a learning iteration may take. */
const LIMITS: readonly { preset: PresetName; batch: number; arena: number }[] = [
  { preset: "digits", batch: 64, arena: 65 },
  { preset: "small", batch: 16, arena: 300 },
  { preset: "paper", batch: 4, arena: 660 },
];

describe("memory of a learning iteration", () => {
  for (const { preset, batch, arena } of LIMITS) {
    it(`${preset}, batch ${batch}: no more than ${arena} MB, and within 5 % of what lives at once`, () => {
      const { training, ...rest } = presets[preset];
      const { graph } = learnProgram(parseConfig({ ...rest, training: { ...training, batch } }));
      const { arenaBytes, peakBytes } = compileGraph(graph);
      assert(arenaBytes <= 1.05 * peakBytes, `${arenaBytes} bytes planned, ${peakBytes} live at once`);
      assert(arenaBytes <= arena * 2 ** 20, `${arenaBytes / 2 ** 20} MB`);
    });
  }
});

describe("freshValues", () => {
  it("gives what the states' own initialisers give", () => {
    using device = Device.open(THREADS);
    const config = parseConfig(TINY);
    const valueOf = freshValues(config.seed);
    for (const spec of modelStates(config).all) {
      const expected = spec.init(config.seed);
      const found = valueOf(spec, device);
      assertEquals([...found ?? new Float32Array(expected.length)], [...expected], spec.name);
      device.setState(spec.name, found && Float32Array.from(found), spec.shape);
      assertEquals([...device.getState(spec.name, expected.length)], [...expected], spec.name);
    }
  });
});
