/** Configuration of a Flow++ network. */
import { ConfigError } from "../errors.ts";
import { HEADS } from "../nn/attention.ts";

/** Couplings of one scale: [channelwise, checkerboard]. */
export type ScaleCouplings = readonly [channelwise: number, checkerboard: number];

/** What the main flow's couplings do to an element: a mixture of logistics' distribution function and an affine map, that alone, or a shift. */
export const COUPLINGS = ["mixture", "affine", "additive"] as const;
/** One of them. */
export type Coupling = typeof COUPLINGS[number];

/** A Flow++ network. Sizes in pixels. */
export interface FlowConfig {
  readonly height: number;
  readonly width: number;
  /** Channels of an image: 1 or 3. */
  readonly channelsIn: number;
  /** Couplings per scale, finest first; between scales the image is squeezed 2×2. */
  readonly scales: readonly ScaleCouplings[];
  /** Width of the coupling networks: a multiple of 4. */
  readonly channels: number;
  /** Residual blocks per coupling network. */
  readonly blocks: number;
  /** Of the main flow; the dequantizer's are mixtures. */
  readonly coupling: Coupling;
  /** Logistic components per mixture. */
  readonly components: number;
  /** Probability that dropout zeroes a channel or an attention weight. */
  readonly dropout: number;
  /** Self-attention in the main flow's blocks. */
  readonly attention: boolean;
  /** Invertible 1×1 convolutions. */
  readonly invConv: boolean;
  readonly dequantization: "variational" | "uniform";
  /** Residual blocks per coupling network of the dequantizer. */
  readonly dequantBlocks: number;
  /** Self-attention in the dequantizer's blocks. */
  readonly dequantAttention: boolean;
  /** Grey levels of the data. */
  readonly levels: number;
}

/** The reference's 32×32 network: 28,784,792 parameters. */
export const FLOW_DEFAULTS: FlowConfig = {
  height: 32,
  width: 32,
  channelsIn: 3,
  scales: [[0, 4], [2, 3]],
  channels: 96,
  blocks: 10,
  coupling: "mixture",
  components: 32,
  dropout: 0.2,
  attention: true,
  invConv: true,
  dequantization: "variational",
  dequantBlocks: 2,
  dequantAttention: true,
  levels: 256,
};

/** The reference's CelebA 64×64 variant. */
export const FLOW_CELEBA64: FlowConfig = {
  ...FLOW_DEFAULTS,
  height: 64,
  width: 64,
  scales: [[0, 0], [0, 4], [2, 2], [2, 2]],
  blocks: 16,
  components: 4,
  dropout: 0,
  invConv: false,
  dequantAttention: false,
};

function expectInteger(field: string, value: number, least: number): void {
  if (!Number.isInteger(value) || value < least) {
    throw new ConfigError(field, `expected an integer of at least ${least}, found ${value}`);
  }
}

/**
 * Checks that a network can be built.
 *
 * @throws {ConfigError} naming the field, what was expected and what was found
 */
export function checkFlowConfig(config: FlowConfig): void {
  const { height, width, channelsIn, scales } = config;
  for (const key of ["height", "width", "channelsIn", "components"] as const) {
    expectInteger(`flow.${key}`, config[key], 1);
  }
  for (const key of ["blocks", "dequantBlocks"] as const) expectInteger(`flow.${key}`, config[key], 0);
  expectInteger("flow.levels", config.levels, 2);
  expectInteger("flow.channels", config.channels, HEADS);
  if (config.channels % HEADS !== 0) {
    throw new ConfigError(
      "flow.channels",
      `expected a multiple of ${HEADS} (attention heads), found ${config.channels}`,
    );
  }
  if (!(config.dropout >= 0 && config.dropout < 1)) {
    throw new ConfigError("flow.dropout", `expected a probability below 1, found ${config.dropout}`);
  }
  if (scales.length === 0) throw new ConfigError("flow.scales", "expected at least one scale, found none");
  const halvings = scales.length - 1;
  scales.forEach(([channelwise, checkerboard], s) => {
    expectInteger(`flow.scales.${s}.0`, channelwise, 0);
    expectInteger(`flow.scales.${s}.1`, checkerboard, 0);
    // Scale s has channelsIn·2^s channels.
    if (channelwise > 0 && s === 0 && channelsIn % 2 !== 0) {
      throw new ConfigError(
        "flow.scales.0.0",
        `expected 0 channelwise couplings of images with ${channelsIn} channels (an odd number has no halves), found ${channelwise}`,
      );
    }
  });
  const last = scales[halvings]![1] > 0 ? halvings + 1 : halvings;
  const unit = 2 ** Math.max(last, config.dequantization === "variational" || scales[0]![1] > 0 ? 1 : 0);
  for (const [key, size] of [["height", height], ["width", width]] as const) {
    if (size % unit !== 0) {
      throw new ConfigError(`flow.${key}`, `expected a multiple of ${unit} for ${scales.length} scales, found ${size}`);
    }
  }
}
