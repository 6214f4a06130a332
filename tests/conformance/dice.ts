// Reproducible choices and data for the cases.

import type { Shape } from "../../src/graph/shape.ts";
import { numel } from "../../src/graph/shape.ts";
import { randomBits } from "../../src/random.ts";
import { gaussian } from "../support/gradient_check.ts";

/** A stream of choices that depends on the op's name and the case's number alone. */
export class Dice {
  readonly #words: Uint32Array;
  readonly #seed: number;
  readonly #name: string;
  #at = 0;
  #tensors = 0;

  constructor(name: string, seed: number) {
    this.#name = name;
    this.#seed = seed;
    this.#words = randomBits(seed, name, 256);
  }

  /** A whole number from `low` to `high`. */
  int(low: number, high: number): number {
    return low + this.#words[this.#at++ % 256]! % (high - low + 1);
  }

  /** One of some values. */
  pick<T>(values: readonly T[]): T {
    return values[this.int(0, values.length - 1)]!;
  }

  /** Normal draws, in float32: what is fed is then the same for both sides. */
  tensor(shape: Shape, scale = 1): Float32Array<ArrayBuffer> {
    const data = gaussian(this.#seed, `${this.#name} ${this.#tensors++}`, numel(shape));
    return Float32Array.from(data, (v) => v * scale);
  }
}
