import { describe, it } from "@std/testing/bdd";
import { assertEquals, assertMatch, assertThrows } from "@std/assert";
import { configJsonSchema, energyConfigOf, flowConfigOf, parseConfig } from "../../src/coopflow/config.ts";
import { presets } from "../../src/coopflow/presets.ts";
import { ConfigError } from "../../src/errors.ts";
import { ENERGY_DEFAULTS } from "../../src/energy/config.ts";
import { FLOW_CELEBA64, FLOW_DEFAULTS } from "../../src/flow/config.ts";

const WRONG: readonly [name: string, input: unknown, field: string, message: string][] = [
  ["no object", 5, "", "expected an object, found 5"],
  ["an unknown room", { trainng: {} }, "trainng", "the nearest is training"],
  ["an unknown field", { training: { flow: { lrr: 1 } } }, "training.flow.lrr", "the nearest is training.flow.lr"],
  ["batch 0", { training: { batch: 0 } }, "training.batch", "expected a number of at least 1, found 0"],
  ["T = 0", { langevin: { steps: 0 } }, "langevin.steps", "expected a number of at least 1, found 0"],
  ["half a step", { langevin: { steps: 2.5 } }, "langevin.steps", "expected a whole number, found 2.5"],
  ["an odd height", { data: { height: 7 } }, "data.height", "expected a multiple of 4, found 7"],
  [
    "a size that the scales can't halve",
    { data: { width: 4 }, flow: { scales: [[0, 1], [0, 1], [0, 1]] } },
    "data.width",
    "expected a multiple of 8",
  ],
  ["two channels", { data: { channels: 2 } }, "data.channels", "expected 1 or 3, found 2"],
  ["halves of one channel", { data: { channels: 1 }, flow: { scales: [[1, 1]] } }, "flow.scales.0.0", "found 1"],
  ["a text for a number", { training: { ebm: { lr: "a" } } }, "training.ebm.lr", 'expected a number, found "a"'],
  ["not a number", { training: { ebm: { lr: NaN } } }, "training.ebm.lr", "expected a number, found NaN"],
  ["a misspelt off", { langevin: { moveClamp: "of" } }, "langevin.moveClamp", 'expected a number or off, found "of"'],
  ["a schedule of another name", { langevin: { schedule: "cosine" } }, "langevin.schedule", "linear or geometric"],
  [
    "an adjustment of nothing",
    { langevin: { metropolis: true } },
    "langevin.noise",
    "expected true with langevin.metropolis",
  ],
  [
    "persistent chains of several micro-batches",
    { training: { phase: "ebm", chains: "persistent", accumulate: 2 } },
    "training.accumulate",
    "expected 1 with persistent chains, found 2",
  ],
  ["a range upside down", { langevin: { range: [1, -1] } }, "langevin.range", "expected [low, high]"],
  ["β = 1", { training: { flow: { betas: [1, 0.9] } } }, "training.flow.betas.0", "expected a number below 1, found 1"],
  ["chains of phase coop", { training: { chains: "persistent" } }, "training.chains", "expected noise in phase coop"],
  [
    "turns of a flow alone",
    { training: { phase: "flow", flowEvery: 2 } },
    "training.flowEvery",
    "expected 1 in phase flow",
  ],
  [
    "a first part of the EBM alone",
    { training: { phase: "ebm", flowFrom: 9 } },
    "training.flowFrom",
    "expected 0 in phase ebm",
  ],
  [
    "bits/dim of no flow",
    { training: { phase: "ebm", best: { metric: "bitsPerDim" } } },
    "training.best.metric",
    "off, frechet, digitFid or fid",
  ],
  ["FID of no network", { training: { best: { metric: "fid" } } }, "training.best.features", "expected FILE.onnx with"],
  [
    "a network for nothing",
    { training: { best: { metric: "frechet", features: "a.onnx" } } },
    "training.best.features",
    "expected off with training.best.metric frechet, found a.onnx",
  ],
  ["patience for nothing", { training: { best: { patience: 3 } } }, "training.best.patience", "expected off without"],
  ["a coupling of another name", { flow: { coupling: "afine" } }, "flow.coupling", "mixture or affine or additive"],
  ["a misspelt phase", { training: { fase: "flow" } }, "training.fase", "the nearest is training.phase"],
  ["a negative seed", { seed: -1 }, "seed", "expected a number of at least 0, found -1"],
];

describe("parseConfig", () => {
  it("fills in the reference's defaults", () => {
    const config = parseConfig({});
    assertEquals(flowConfigOf(config), FLOW_DEFAULTS);
    assertEquals(energyConfigOf(config), ENERGY_DEFAULTS);
    assertEquals(config.langevin, {
      steps: 30,
      stepSize: 0.03,
      sampleStepSize: 0.04,
      schedule: "constant",
      scheduleEnd: 0.1,
      schedulePower: 0.55,
      noise: false,
      metropolis: false,
      moveClamp: 0.1,
      range: [-1, 1],
    });
    assertEquals(config.training.ebm.betas, [0.5, 0.5]);
    assertEquals(config.training.flow.gainDecay, 5e-5);
    assertEquals(config.training.averaging, { flow: "off", ebm: "off" });
  });

  it("has the reference's recipes", () => {
    const { cifar10, svhn, celeba32, celeba64 } = presets;
    assertEquals(cifar10.training.iterations, 357_200);
    assertEquals([cifar10.data.flip, svhn.data.flip, celeba32.data.flip], [true, false, false]);
    for (const preset of [cifar10, svhn, celeba32, celeba64]) {
      assertEquals([preset.training.batch, preset.langevin.stepSize, preset.langevin.steps], [28, 0.03, 30]);
      assertEquals([preset.training.flow.lr, preset.training.ebm.lr, preset.training.flow.warmUp], [1e-4, 1e-4, 200]);
      assertEquals(preset.training.initialisationImages, 20 * 28);
    }
    for (const preset of [svhn, celeba32, celeba64]) {
      assertEquals(preset.langevin.sampleStepSize, 0.035);
      assertEquals([preset.training.flow.clipBy, preset.training.flow.threshold], ["whole", 1e6]);
      assertEquals([preset.training.ebm.clip, preset.training.ebm.threshold], [1, 5e6]);
    }
    assertEquals(flowConfigOf(celeba64), FLOW_CELEBA64);
    const [pre, svhnPre, celebaPre] = [presets["cifar10-pre"], presets["svhn-pre"], presets["celeba32-pre"]].map((
      { training },
    ) => training);
    assertEquals([pre!.iterations, pre!.flowFrom, pre!.thresholdFrom, pre!.flowEvery], [357_200, 26 * 1786, 1786, 1]);
    assertEquals([pre!.ebm.clip, pre!.ebm.threshold, pre!.flow.threshold, pre!.flow.clip], [5e5, 5e5, 5e5, 1]);
    assertEquals([svhnPre!.iterations, svhnPre!.flowFrom, svhnPre!.thresholdFrom], [100 * 2617, 11 * 2617, 2617]);
    assertEquals([celebaPre!.iterations, celebaPre!.flowFrom, celebaPre!.flowEvery], [100 * 7236, 10 * 7236, 5]);
    assertEquals([celebaPre!.ebm.clip, celebaPre!.ebm.threshold, celebaPre!.flow.threshold], [1, 5e6, 1e6]);
    assertEquals([pre!, svhnPre!, celebaPre!].map(({ flow }) => flow.clipBy), ["whole", "whole", "whole"]);
    assertEquals(presets["cifar10-long"].langevin.steps, 200);
    assertEquals(energyConfigOf(celeba64), { ...ENERGY_DEFAULTS, height: 64, width: 64 });
  });

  it("leaves a complete configuration as it is", () => {
    for (const preset of Object.values(presets)) assertEquals(parseConfig(preset), preset);
  });

  for (const [name, input, field, message] of WRONG) {
    it(`refuses ${name}`, () => {
      const error = assertThrows(() => parseConfig(input), ConfigError, message);
      assertEquals(error.field, field);
      assertMatch(error.message, /^[^\n]*[^.\n]$/);
    });
  }
});

describe("configJsonSchema", () => {
  it("describes every field of a complete configuration", () => {
    const missing: string[] = [];
    const walk = (value: unknown, schema: unknown, path: string): void => {
      if (typeof value !== "object" || value === null || Array.isArray(value)) return;
      const { properties } = schema as { properties: Record<string, unknown> };
      for (const [key, inner] of Object.entries(value)) {
        if (properties[key] === undefined) missing.push(`${path}${key}`);
        else walk(inner, properties[key], `${path}${key}.`);
      }
    };
    walk(parseConfig({}), configJsonSchema(), "");
    assertEquals(missing, []);
  });
});
