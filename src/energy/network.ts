/** Energy networks: f(x) = −E(x), larger = more likely. */
import { add, avgPool2, reshape, sum, swish } from "../graph/build.ts";
import type { Value } from "../graph/graph.ts";
import { ConfigError } from "../errors.ts";
import { Conv } from "../nn/conv.ts";
import type { Params } from "../nn/params.ts";

/** An energy network. Sizes in pixels. */
export interface EnergyConfig {
  /** `res`: residual blocks with swish and average pooling (the reference's `EBM_res`). */
  readonly kind: "res";
  readonly height: number;
  readonly width: number;
  /** Channels of an image: 1 or 3. */
  readonly channelsIn: number;
  /** n: channels of the first convolution; blocks go on with 2n, 4n, 8n, 8n, … */
  readonly channels: number;
}

/** The reference's 32×32 network: 17,129,444 parameters. */
export const ENERGY_DEFAULTS: EnergyConfig = { kind: "res", height: 32, width: 32, channelsIn: 3, channels: 128 };

/** An unnormalised log-density. */
export interface EnergyNetwork {
  readonly params: Params;
  /** f of each image: [N,H,W,C] in [−1, 1] → [N]. */
  forward(x: Value): Value;
}

/** Side of the last convolution's kernel. */
const END = 4;
/** Outputs of the last convolution, which are summed. */
const END_CHANNELS = 100;
/** Channels stop doubling at 8n. */
const WIDEST = 8;

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

/** avgpool2(swish(conv2(swish(conv1(x)))) + swish(res(x))): conv1 i → i, conv2 and res i → o, all 3×3. [N,H,W,i] → [N,H/2,W/2,o]. */
class Block {
  readonly #params: Params;
  readonly #conv1: Conv;
  readonly #conv2: Conv;
  readonly #res: Conv;

  constructor(params: Params, channelsIn: number, channelsOut: number) {
    this.#params = params;
    this.#conv1 = new Conv(params.scope("conv1"), channelsIn, channelsIn, 3, { padding: 1 });
    this.#conv2 = new Conv(params.scope("conv2"), channelsIn, channelsOut, 3, { padding: 1 });
    this.#res = new Conv(params.scope("res"), channelsIn, channelsOut, 3, { padding: 1 });
  }

  forward(x: Value): Value {
    return this.#params.enter(() => {
      const deep = swish(this.#conv2.forward(swish(this.#conv1.forward(x))));
      return avgPool2(add(deep, swish(this.#res.forward(x))));
    });
  }
}

/**
 * conv 3×3 (C → n), swish, blocks (n → 2n → 4n → 8n …: as many as halve the size exactly and leave at least 4), conv 4×4 without padding (→ 100);
 * f is the sum of its outputs over channels and positions. Scopes `f.0`, `f.2` …
 */
export class ResEnergy implements EnergyNetwork {
  readonly params: Params;
  readonly #stem: Conv;
  readonly #blocks: readonly Block[];
  readonly #end: Conv;

  constructor(params: Params, config: EnergyConfig) {
    this.params = params;
    const { channels, channelsIn } = config;
    this.#stem = new Conv(params.scope("f.0"), channelsIn, channels, 3, { padding: 1 });
    const width = (k: number): number => channels * Math.min(2 ** k, WIDEST);
    const blocks = energyBlocks(config.height, config.width);
    // f.1 is the stem's swish.
    this.#blocks = Array.from(
      { length: blocks },
      (_, k) => new Block(params.scope(`f.${k + 2}`), width(k), width(k + 1)),
    );
    this.#end = new Conv(params.scope(`f.${blocks + 2}`), width(blocks), END_CHANNELS, END);
  }

  forward(x: Value): Value {
    return this.params.enter(() => {
      let h = swish(this.#stem.forward(x));
      for (const block of this.#blocks) h = block.forward(h);
      return reshape(sum(this.#end.forward(h), [1, 2, 3]), [x.shape[0]!]);
    });
  }
}

/**
 * The network that `config` describes, its states in `params`.
 *
 * @throws {ConfigError} if it can't be built
 */
export function createEnergy(params: Params, config: EnergyConfig): EnergyNetwork {
  for (const key of ["channelsIn", "channels"] as const) {
    if (!Number.isInteger(config[key]) || config[key] < 1) {
      throw new ConfigError(`energy.${key}`, `expected a positive integer, found ${config[key]}`);
    }
  }
  for (const key of ["height", "width"] as const) {
    if (!Number.isInteger(config[key]) || config[key] < END) {
      throw new ConfigError(`energy.${key}`, `expected an integer of at least ${END}, found ${config[key]}`);
    }
  }
  return new ResEnergy(params, config);
}
