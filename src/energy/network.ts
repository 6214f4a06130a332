/** Energy networks: f(x) = −E(x), larger = more likely. */
import { add, avgPool2, reshape, sum, swish } from "../graph/build.ts";
import type { Value } from "../graph/graph.ts";
import { Conv } from "../nn/conv.ts";
import { filled } from "../nn/initializers.ts";
import type { Params } from "../nn/params.ts";
import {
  checkEnergyConfig,
  END,
  END_CHANNELS,
  energyBlocks,
  type EnergyConfig,
  type EnergyKind,
  type EnergyNetwork,
  type StateStep,
} from "./config.ts";
import { SpectralStack } from "./spectral.ts";

/** Layers from images to what is summed up to f. */
export interface Stack {
  /** [N,H,W,C] → [N,h,w,c]: c is 1 where the last layer's 100 channels are summed in its kernel, else 100. */
  forward(x: Value): Value;
  /** See {@linkcode EnergyNetwork.step}. */
  step?(): readonly StateStep[];
}

/** Channels stop doubling at 8n. */
const WIDEST = 8;
/** Starting value of the number that `shift` adds. */
const SHIFT = -3;

const size3 = { padding: 1 } as const;

/** swish(conv2(swish(conv1(x)))) + swish(res(x)): conv1 i → i, conv2 and res i → o, all 3×3. [N,H,W,i] → [N,H,W,o]. */
export class SwishBlock implements Stack {
  readonly #params: Params;
  readonly #conv1: Conv;
  readonly #conv2: Conv;
  readonly #res: Conv;

  constructor(params: Params, channelsIn: number, channelsOut: number) {
    this.#params = params;
    this.#conv1 = new Conv(params.scope("conv1"), channelsIn, channelsIn, 3, size3);
    this.#conv2 = new Conv(params.scope("conv2"), channelsIn, channelsOut, 3, size3);
    this.#res = new Conv(params.scope("res"), channelsIn, channelsOut, 3, size3);
  }

  forward(x: Value): Value {
    return this.#params.enter(() => {
      const deep = swish(this.#conv2.forward(swish(this.#conv1.forward(x))));
      return add(deep, swish(this.#res.forward(x)));
    });
  }
}

/** Layers one after the other. */
function sequence(layers: readonly ((x: Value) => Value)[]): Stack {
  return { forward: (x) => layers.reduce((h, layer) => layer(h), x) };
}

const width = (channels: number, k: number): number => channels * Math.min(2 ** k, WIDEST);

/** conv 3×3 (C → n), swish, blocks with pooling (n → 2n → 4n → 8n …), conv 4×4 (→ 100). Scopes `f.0`, `f.2` … */
function resStack(params: Params, { channels, channelsIn, height, width: w }: EnergyConfig): Stack {
  const stem = new Conv(params.scope("f.0"), channelsIn, channels, 3, size3);
  const count = energyBlocks(height, w);
  // f.1 is the stem's swish.
  const blocks = Array.from(
    { length: count },
    (_, k) => new SwishBlock(params.scope(`f.${k + 2}`), width(channels, k), width(channels, k + 1)),
  );
  const end = new Conv(params.scope(`f.${count + 2}`), width(channels, count), END_CHANNELS, END);
  return sequence([
    (x) => swish(stem.forward(x)),
    ...blocks.map((block) => (x: Value) => avgPool2(block.forward(x))),
    (x) => end.forwardSummed(x),
  ]);
}

/** conv 3×3 (C → n), then conv 4×4 with stride 2 (n → 2n → 4n → 8n …), each with swish, conv 4×4 (→ 100). Scopes `f.0`, `f.2` … */
function plainStack(params: Params, { channels, channelsIn, height, width: w }: EnergyConfig): Stack {
  const count = energyBlocks(height, w);
  const layers = Array.from({ length: count + 1 }, (_, k) => {
    const scope = params.scope(`f.${2 * k}`);
    return k === 0
      ? new Conv(scope, channelsIn, channels, 3, size3)
      : new Conv(scope, width(channels, k - 1), width(channels, k), END, { stride: 2, padding: 1 });
  });
  const end = new Conv(params.scope(`f.${2 * count + 2}`), width(channels, count), END_CHANNELS, END);
  return sequence([...layers.map((layer) => (x: Value) => swish(layer.forward(x))), (x) => end.forwardSummed(x)]);
}

/** conv 3×3 (C → n), swish, levels of blocks (2n, then 4n), each with pooling at its end, conv 4×4 (→ 100). Scopes `conv_in`, `res_levels.l.b`, `fc_out`. */
function deepStack(params: Params, { channels, channelsIn, height, width: w, blocks }: EnergyConfig): Stack {
  const stem = new Conv(params.scope("conv_in"), channelsIn, channels, 3, size3);
  let before = channels;
  const levels = Array.from({ length: energyBlocks(height, w) }, (_, l) =>
    Array.from({ length: blocks }, (_, b) => {
      const after = channels * Math.min(2 ** (l + 1), WIDEST / 2);
      const block = new SwishBlock(params.scope(`res_levels.${l}.${b}`), before, after);
      before = after;
      return block;
    }));
  const end = new Conv(params.scope("fc_out"), before, END_CHANNELS, END);
  return sequence([
    (x) => swish(stem.forward(x)),
    ...levels.map((level) => (x: Value) => avgPool2(level.reduce((h, block) => block.forward(h), x))),
    (x) => end.forwardSummed(x),
  ]);
}

const STACKS: Readonly<Record<EnergyKind, (params: Params, config: EnergyConfig) => Stack>> = {
  res: resStack,
  plain: plainStack,
  deep: deepStack,
  spectral: (params, config) => new SpectralStack(params, config),
};

/** f: the sum of a stack's outputs over channels and positions, and the shift. */
class SummedEnergy implements EnergyNetwork {
  readonly params: Params;
  readonly #stack: Stack;
  readonly #shift: Value | undefined;

  constructor(params: Params, config: EnergyConfig) {
    this.params = params;
    // First, as the reference's numbering of optimizer states has it.
    this.#shift = config.shift ? params.param("A", [], filled([], SHIFT)) : undefined;
    this.#stack = STACKS[config.kind](params, config);
  }

  forward(x: Value): Value {
    return this.params.enter(() => {
      const f = reshape(sum(this.#stack.forward(x), [1, 2, 3]), [x.shape[0]!]);
      return this.#shift ? add(f, this.#shift) : f;
    });
  }

  step(): readonly StateStep[] {
    return this.params.enter(() => this.#stack.step?.() ?? []);
  }
}

/**
 * The network that `config` describes, its states in `params`. Sizes halve as often as they do exactly and leave at least 4.
 *
 * @throws {ConfigError} if it can't be built
 */
export function createEnergy(params: Params, config: EnergyConfig): EnergyNetwork {
  checkEnergyConfig(config);
  return new SummedEnergy(params, config);
}
