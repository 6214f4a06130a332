/** Configuration of an energy network. */
import type { Value } from "../graph/graph.ts";
import { ConfigError } from "../errors.ts";
import type { Params } from "../nn/params.ts";

/**
 * Kinds of networks, by the reference's names for them: `res` = `EBM_res`; `plain` = `EBM`, strided convolutions; `deep` = `EBM_deep32_swish`;
 * `spectral` = `EBM_deep32_3`, deep with spectral norm.
 */
export const ENERGY_KINDS = ["res", "plain", "deep", "spectral"] as const;
/** One of them. */
export type EnergyKind = typeof ENERGY_KINDS[number];

/** An energy network. Sizes in pixels. */
export interface EnergyConfig {
  readonly kind: EnergyKind;
  readonly height: number;
  readonly width: number;
  /** Channels of an image: 1 or 3. */
  readonly channelsIn: number;
  /** n: channels of the first convolution (the reference: 128; `deep` 256). */
  readonly channels: number;
  /** Blocks per level of `deep` (the reference: 3) and `spectral` (5). */
  readonly blocks: number;
  /** A trained number `A`, −3 at the start, is added to f (the reference's `EBM_res_wA`). */
  readonly shift: boolean;
  /**
   * `spectral` only: singular vectors that a weight of zeros turned to zeros are drawn again, so that the layer is normalised once its weight is
   * not zero any more. The reference leaves them at zero, and so never normalises a block's second convolution.
   */
  readonly redraw: boolean;
}

/** The reference's 32×32 network: 17,129,444 parameters. */
export const ENERGY_DEFAULTS: EnergyConfig = {
  kind: "res",
  height: 32,
  width: 32,
  channelsIn: 3,
  channels: 128,
  blocks: 3,
  shift: false,
  redraw: false,
};

/** The next value of a state that is no parameter: gradients do not pass. */
export interface StateStep {
  readonly name: string;
  readonly old: Value;
  readonly next: Value;
}

/** An unnormalised log-density. */
export interface EnergyNetwork {
  readonly params: Params;
  /** f of each image: [N,H,W,C] in [−1, 1] → [N]. */
  forward(x: Value): Value;
  /**
   * One step of whatever the network keeps beside its parameters (spectral norm's power iteration): what {@linkcode forward} builds afterwards uses
   * the new values. The caller assigns them.
   */
  step(): readonly StateStep[];
}

/** Side of the last convolution's kernel. */
export const END = 4;
/** Outputs of the last convolution, which are summed. */
export const END_CHANNELS = 100;

/** How often both sides halve exactly and leave at least 4. */
export function energyBlocks(height: number, width: number): number {
  let blocks = 0;
  while (height % 2 === 0 && width % 2 === 0 && Math.min(height, width) / 2 >= END) {
    height /= 2;
    width /= 2;
    blocks++;
  }
  return blocks;
}

/**
 * Checks that a network can be built.
 *
 * @throws {ConfigError} naming the field, what was expected and what was found
 */
export function checkEnergyConfig(config: EnergyConfig): void {
  for (const key of ["channelsIn", "channels", "blocks"] as const) {
    if (!Number.isInteger(config[key]) || config[key] < 1) {
      throw new ConfigError(`energy.${key}`, `expected a positive integer, found ${config[key]}`);
    }
  }
  for (const key of ["height", "width"] as const) {
    if (!Number.isInteger(config[key]) || config[key] < END) {
      throw new ConfigError(`energy.${key}`, `expected an integer of at least ${END}, found ${config[key]}`);
    }
  }
  if (config.redraw && config.kind !== "spectral") {
    throw new ConfigError(
      "energy.redraw",
      `expected false for kind ${config.kind}, which has no spectral norm, found true`,
    );
  }
}
