/** The complete configuration of a CoopFlow: every hyperparameter, each with the reference's default. */
import { z } from "zod";
import { ENERGY_DEFAULTS, ENERGY_KINDS, type EnergyConfig } from "../energy/config.ts";
import { LANGEVIN_DEFAULTS } from "../energy/langevin.ts";
import { STEP_SCHEDULES } from "../energy/step_sizes.ts";
import { ConfigError } from "../errors.ts";
import { checkFlowConfig, COUPLINGS, FLOW_DEFAULTS, type FlowConfig } from "../flow/config.ts";
import { PRECISIONS } from "../runtime/precision.ts";
import { MEASURED } from "./metric_names.ts";
import { configErrorOf } from "./config_errors.ts";

const OFF = z.literal("off");
const count = (least: number): z.ZodInt => z.int().min(least);
const positive = (): z.ZodNumber => z.number().positive();
const fraction = (): z.ZodNumber => z.number().min(0).max(1);
const beta = (): z.ZodNumber => z.number().min(0).lt(1);
const limit = (): z.ZodUnion<readonly [z.ZodNumber, typeof OFF]> => z.union([positive(), OFF]);

const DATA = z.strictObject({
  height: count(4).multipleOf(4).default(32).describe("Pixels; a multiple of 4"),
  width: count(4).multipleOf(4).default(32).describe("Pixels; a multiple of 4"),
  channels: z.literal([1, 3]).default(3).describe("1 grey, 3 red-green-blue"),
  levels: count(2).max(256).default(FLOW_DEFAULTS.levels).describe("Grey levels of a value"),
  flip: z.boolean().default(false).describe("Mirror training images left to right with probability ½"),
});

const FLOW = z.strictObject({
  scales: z.array(z.tuple([count(0), count(0)])).min(1).default(FLOW_DEFAULTS.scales.map(([a, b]) => [a, b]))
    .describe("Couplings [channelwise, checkerboard] of each scale, finest first"),
  channels: count(4).multipleOf(4).default(FLOW_DEFAULTS.channels).describe("Width of the coupling networks"),
  blocks: count(0).default(FLOW_DEFAULTS.blocks).describe("Residual blocks per coupling network"),
  coupling: z.enum(COUPLINGS).default(FLOW_DEFAULTS.coupling)
    .describe("Main flow: mixture of logistics (Flow++), affine (RealNVP) or additive (NICE) couplings"),
  components: count(1).default(FLOW_DEFAULTS.components).describe("Logistic components per mixture"),
  dropout: z.number().min(0).lt(1).default(FLOW_DEFAULTS.dropout).describe("Probability of dropout"),
  attention: z.boolean().default(FLOW_DEFAULTS.attention).describe("Self-attention in the main flow's blocks"),
  invConv: z.boolean().default(FLOW_DEFAULTS.invConv).describe("Invertible 1×1 convolutions"),
  dequantization: z.enum(["variational", "uniform"]).default(FLOW_DEFAULTS.dequantization),
  dequantBlocks: count(0).default(FLOW_DEFAULTS.dequantBlocks)
    .describe("Residual blocks per coupling network of the dequantizer"),
  dequantAttention: z.boolean().default(FLOW_DEFAULTS.dequantAttention)
    .describe("Self-attention in the dequantizer's blocks"),
});

const ENERGY = z.strictObject({
  kind: z.enum(ENERGY_KINDS).default(ENERGY_DEFAULTS.kind)
    .describe("Residual with pooling, plain strided convolutions, deep, or deep with spectral norm"),
  channels: count(1).default(ENERGY_DEFAULTS.channels)
    .describe("Channels of the first convolution; the reference's deep network has 256"),
  blocks: count(1).default(ENERGY_DEFAULTS.blocks)
    .describe("Blocks per level of kinds deep and spectral; the reference has 3 and 5"),
  shift: z.boolean().default(ENERGY_DEFAULTS.shift).describe("Add a trained number to the energies"),
  redraw: z.boolean().default(ENERGY_DEFAULTS.redraw)
    .describe("Kind spectral: draw singular vectors again that became 0; the reference does not"),
});

const LANGEVIN = z.strictObject({
  steps: count(1).default(LANGEVIN_DEFAULTS.steps).describe("T"),
  stepSize: positive().default(0.03).describe("δ while learning"),
  sampleStepSize: positive().default(0.04).describe("δ while sampling"),
  schedule: z.enum(STEP_SCHEDULES).default("constant")
    .describe("How δ changes over the T steps of a chain, in learning and sampling"),
  scheduleEnd: positive().default(0.1).describe(
    "Other schedules than constant: δ of the last step as a share of the first's",
  ),
  schedulePower: positive().default(0.55).describe("Schedule polynomial: γ of δ = a/(b + t)^γ"),
  noise: z.boolean().default(LANGEVIN_DEFAULTS.noise).describe("Whether δ·ε is added in each step"),
  metropolis: z.boolean().default(false)
    .describe("Accept or reject each move (MALA), so that chains sample from exp f exactly; needs noise"),
  moveClamp: limit().default(LANGEVIN_DEFAULTS.moveClamp)
    .describe("Largest move (δ²/2)·∇f per element and step, or off"),
  range: z.union([z.tuple([z.number(), z.number()]), OFF]).default([...LANGEVIN_DEFAULTS.range])
    .describe("Where images are clamped to after each step (with metropolis: reflected at the ends), or off"),
});

interface OptimizerDefaults {
  readonly betas: [number, number];
  readonly clip: number | "off";
}

const optimizer = ({ betas, clip }: OptimizerDefaults) => ({
  lr: z.number().min(0).default(1e-4).describe("Adam's learning rate"),
  betas: z.tuple([beta(), beta()]).default(betas).describe("Adam's β₁ and β₂"),
  eps: positive().default(1e-8).describe("Adam's ε"),
  clip: limit().default(clip).describe("Gradients are scaled down to this norm, or off"),
  threshold: limit().default("off").describe("An update is skipped unless the norm before clipping is below, or off"),
  warmUp: count(0).default(200).describe("Updates over which the learning rate rises linearly from 0"),
  clipValue: limit().default("off").describe("Each element of a gradient is limited to ± this, after the norm, or off"),
  decoupledDecay: z.number().min(0).default(0).describe("AdamW: decay of every trained parameter beside the step"),
  schedule: z.enum(["constant", "cosine", "step"]).default("constant")
    .describe("The learning rate after the warm-up: constant, by a cosine to 0 over the iterations, or in steps"),
  stepEvery: count(1).default(100_000).describe("Schedule step: updates between steps"),
  stepFactor: positive().max(1).default(0.1).describe("Schedule step: factor of each step"),
  decayLast: fraction().default(0).describe("Over this last part of the iterations the rate falls linearly to 0"),
});

const AVERAGE = (): z.ZodDefault<z.ZodUnion<readonly [z.ZodNumber, typeof OFF]>> =>
  z.union([beta(), OFF]).default("off");

const TRAINING = z.strictObject({
  phase: z.enum(["coop", "flow", "ebm"]).default("coop")
    .describe("Both networks learn from each other; or the flow alone by maximum likelihood on data; or the EBM alone"),
  chains: z.enum(["noise", "persistent"]).default("noise")
    .describe("Phase ebm: each iteration's chains start from uniform noise, or go on from where the last one's ended"),
  flowFrom: count(0).default(0).describe("Phase coop: iterations at the start in which the EBM learns alone"),
  flowEvery: count(1).default(1).describe("Phase coop: after these the flow learns in one of so many iterations"),
  thresholdFrom: count(0).default(0).describe("Iterations at the start in which the EBM's threshold does not count"),
  batch: count(1).default(28).describe("Images per iteration (or micro-batch), data and synthesised alike"),
  accumulate: count(1).default(1)
    .describe("Micro-batches whose gradients an iteration adds up: the step of a batch so many times as large"),
  iterations: count(0).default(357_200).describe("Learning iterations; the default is 200 epochs of CIFAR-10"),
  initialisationImages: count(1).default(560).describe("Images of the data-dependent initialisation"),
  flow: z.strictObject({
    ...optimizer({ betas: [0.9, 0.999], clip: 1 }),
    gainDecay: z.number().min(0).default(5e-5).describe("L2 coefficient of the weight-norm gains"),
    clipBy: z.enum(["groups", "whole"]).default("groups")
      .describe("One norm for the gains and one for the others, or one for all"),
  }).prefault({}),
  ebm: z.strictObject({
    ...optimizer({ betas: [0.5, 0.5], clip: "off" }),
    magnitude: z.number().min(0).default(0)
      .describe("α of α·(mean f(x̃)² + mean f(data)²), which holds energies near 0; it is added to the EBM's loss"),
  }).prefault({}),
  averaging: z.strictObject({
    flow: AVERAGE().describe("Decay of the flow's moving averages, or off"),
    ebm: AVERAGE().describe("Decay of the EBM's moving averages, or off"),
  }).prefault({}),
  recompute: z.boolean().default(false)
    .describe("Compute the insides of coupling layers again in the backward pass: less memory, more time"),
  best: z.strictObject({
    metric: z.enum(["off", ...MEASURED]).default("off").describe(
      "What the checkpoint best.safetensors has least of, on held-out images: Fréchet distance of pixels, of the built-in digit network's features or of those of a network of yours, or the flow's bits/dim",
    ),
    features: z.string().min(1).default("off").describe("Metric fid: the network, FILE.onnx; FID with Inception"),
    every: count(1).default(500).describe("Iterations between measurements"),
    images: count(2).default(500).describe("Fréchet distances: images that are drawn"),
    patience: z.union([count(1), OFF]).default("off")
      .describe("Training ends after so many measurements in a row without a new best, or off"),
  }).prefault({}),
  stopOnNaN: z.boolean().default(true).describe("Stop when a value is not finite; otherwise skip the update"),
  checkpointEvery: count(1).default(500).describe("Iterations between checkpoints"),
  keepCheckpoints: count(1).default(2).describe("Checkpoints that are kept, the newest"),
  sampleEvery: count(1).default(500).describe("Iterations between pictures of samples"),
});

const SAMPLING = z.strictObject({
  undoBound: z.boolean().default(false)
    .describe("Undo the logit's 0.9 in proposals, so that they reach ±1 as data do; the reference does not"),
});

const COMPUTE = z.strictObject({
  precision: z.enum(PRECISIONS).default("float32")
    .describe(
      "What products and convolutions compute in: float32, or on a GPU tf32 or bf16; auto: what is fastest there",
    ),
  winograd: z.boolean().default(true)
    .describe("Winograd's algorithm for 3×3 convolutions; false: direct ones, slower, with a smaller rounding error"),
});

const SCHEMA = z.strictObject({
  data: DATA.prefault({}),
  flow: FLOW.prefault({}),
  energy: ENERGY.prefault({}),
  langevin: LANGEVIN.prefault({}),
  training: TRAINING.prefault({}),
  sampling: SAMPLING.prefault({}),
  compute: COMPUTE.prefault({}),
  seed: count(0).max(0xffffffff).default(0).describe("Seed of everything that is drawn"),
});

/** A complete configuration. */
export type CoopFlowConfig = z.output<typeof SCHEMA>;
/** A configuration in which everything may be left to its default. */
export type CoopFlowConfigInput = z.input<typeof SCHEMA>;

/**
 * Checks a configuration and fills in the reference's defaults.
 *
 * @throws {ConfigError} naming the field, what was expected and what was found
 */
export function parseConfig(input: unknown): CoopFlowConfig {
  const result = SCHEMA.safeParse(input);
  if (!result.success) throw configErrorOf(result.error.issues, input, SCHEMA);
  const config = result.data;
  try {
    checkFlowConfig(flowConfigOf(config));
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    // Sizes and levels are the data's here, the flow's there.
    const [, key = ""] = error.field.split(".");
    if (!["height", "width", "levels"].includes(key)) throw error;
    throw new ConfigError(`data.${key}`, error.message.slice(error.field.length + 2), { cause: error });
  }
  checkPhase(config);
  const { range, metropolis, noise } = config.langevin;
  if (metropolis && !noise) {
    throw new ConfigError("langevin.noise", "expected true with langevin.metropolis, found false");
  }
  if (range !== "off" && !(range[0] < range[1])) {
    throw new ConfigError("langevin.range", `expected [low, high] with low below high, found [${range.join(", ")}]`);
  }
  return config;
}

/** @throws {ConfigError} if something is asked for that the phase does not have */
function checkPhase({ training: { phase, chains, flowFrom, flowEvery, best, accumulate } }: CoopFlowConfig): void {
  const expect = (holds: boolean, field: string, expected: string, found: string | number): void => {
    if (holds) return;
    throw new ConfigError(`training.${field}`, `expected ${expected} in phase ${phase}, found ${found}`);
  };
  expect(phase === "ebm" || chains === "noise", "chains", "noise", chains);
  expect(phase === "coop" || flowFrom === 0, "flowFrom", "0", flowFrom);
  expect(phase === "coop" || flowEvery === 1, "flowEvery", "1", flowEvery);
  if (chains === "persistent" && accumulate > 1) {
    throw new ConfigError("training.accumulate", `expected 1 with persistent chains, found ${accumulate}`);
  }
  expect(phase !== "ebm" || best.metric !== "bitsPerDim", "best.metric", "off, frechet, digitFid or fid", best.metric);
  if ((best.metric === "fid") !== (best.features !== "off")) {
    const expected = best.metric === "fid" ? "FILE.onnx" : "off";
    throw new ConfigError(
      "training.best.features",
      `expected ${expected} with training.best.metric ${best.metric}, found ${best.features}`,
    );
  }
  if (best.metric === "off" && best.patience !== "off") {
    throw new ConfigError(
      "training.best.patience",
      `expected off without training.best.metric, found ${best.patience}`,
    );
  }
}

/** The JSON schema (draft 2020-12) of a configuration file. */
export function configJsonSchema(): Record<string, unknown> {
  return { title: "CoopFlow configuration", ...z.toJSONSchema(SCHEMA, { io: "input" }) };
}

/** The flow's part, with what the data says of it. */
export function flowConfigOf(config: CoopFlowConfig): FlowConfig {
  const { height, width, channels, levels } = config.data;
  return { ...config.flow, height, width, channelsIn: channels, levels };
}

/** The energy network's part, with what the data says of it. */
export function energyConfigOf(config: CoopFlowConfig): EnergyConfig {
  const { height, width, channels } = config.data;
  return { ...config.energy, height, width, channelsIn: channels };
}
