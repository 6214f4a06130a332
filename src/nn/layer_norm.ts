/** Layer normalisation (Ba, Kiros, Hinton, 2016). */
import type { Value } from "../graph/graph.ts";
import { filled } from "./initializers.ts";
import type { Params } from "./params.ts";

/** (x − mean)/√(var + 1e-5)·weight + bias over the last axis, biased variance; states `weight` (1 at the start), `bias` (0), both [C]. */
export class LayerNorm {
  readonly #params: Params;
  readonly #gain: Value;
  readonly #bias: Value;

  constructor(params: Params, channels: number) {
    this.#params = params;
    this.#gain = params.param("weight", [channels], filled([channels], 1));
    this.#bias = params.param("bias", [channels], filled([channels], 0));
  }

  /** […, C] → […, C]. */
  forward(x: Value): Value {
    return this.#params.enter(() => x.graph.add("layer_norm", { eps: 1e-5 }, [x, this.#gain, this.#bias])[0]!);
  }
}
