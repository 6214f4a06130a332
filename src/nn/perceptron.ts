/** Fully connected layers. */
import { swish } from "../graph/build.ts";
import type { Value } from "../graph/graph.ts";
import { Conv } from "./conv.ts";
import type { Params } from "./params.ts";

/** Linear layers with swish between them, the same at each pixel. Scopes `0`, `1`, … with `weight` [O,I,1,1] and `bias` [O]. */
export class Perceptron {
  readonly #params: Params;
  readonly #layers: readonly Conv[];

  /** @param widths of input, hidden layers and output */
  constructor(params: Params, widths: readonly number[]) {
    this.#params = params;
    this.#layers = widths.slice(1).map((width, i) => new Conv(params.scope(`${i}`), widths[i]!, width, 1));
  }

  /** [N,H,W,I] → [N,H,W,O]. */
  forward(x: Value): Value {
    return this.#params.enter(() => this.#layers.reduce((h, layer, i) => layer.forward(i === 0 ? h : swish(h)), x));
  }
}
