// Softmax attention of key | value | query, with dropout on the weights; and its adjoint. Scores are stored whole.

import { type DrawPosition, philox } from "../../../src/random.ts";

/** Sizes of one attention, and what its dropout multiplies each weight of an image by (0 or 1/(1 − p)). */
export interface AttentionCase {
  readonly images: number;
  readonly length: number;
  /** Width c of the result; the operand is 3c wide. */
  readonly width: number;
  readonly heads: number;
  /** [heads, L, L] factors of image n; undefined without dropout. */
  readonly mask: (image: number) => Float64Array | undefined;
}

interface Head {
  /** softmax(q·k/√d), row-major [L, L]. */
  readonly weights: Float64Array;
  readonly logSumExp: Float64Array;
  /** Offset of element i of the head in key, value and query of position p: at(part, p) + i. */
  readonly at: (part: 0 | 1 | 2, position: number) => number;
  readonly size: number;
}

function headOf(kvq: Float64Array, a: AttentionCase, image: number, head: number): Head {
  const { length, width } = a;
  const size = width / a.heads;
  const scale = 1 / Math.sqrt(size);
  const at = (part: 0 | 1 | 2, position: number): number =>
    (image * length + position) * 3 * width + part * width + head * size;
  const weights = new Float64Array(length * length);
  const logSumExp = new Float64Array(length);
  for (let i = 0; i < length; i++) {
    let top = -Infinity;
    for (let j = 0; j < length; j++) {
      let dot = 0;
      const q = at(2, i);
      const k = at(0, j);
      for (let e = 0; e < size; e++) dot += kvq[q + e]! * kvq[k + e]!;
      weights[i * length + j] = dot * scale;
      top = Math.max(top, dot * scale);
    }
    let total = 0;
    for (let j = 0; j < length; j++) total += Math.exp(weights[i * length + j]! - top);
    logSumExp[i] = top + Math.log(total);
    for (let j = 0; j < length; j++) weights[i * length + j] = Math.exp(weights[i * length + j]! - logSumExp[i]!);
  }
  return { weights, logSumExp, at, size };
}

/** [out [N, L, c], log-sum-exp [N, heads, L]]. */
export function attention(kvq: Float64Array, a: AttentionCase): Float64Array[] {
  const { images, length, width, heads } = a;
  const out = new Float64Array(images * length * width);
  const lse = new Float64Array(images * heads * length);
  for (let n = 0; n < images; n++) {
    const mask = a.mask(n);
    for (let h = 0; h < heads; h++) {
      const { weights, logSumExp, at, size } = headOf(kvq, a, n, h);
      lse.set(logSumExp, (n * heads + h) * length);
      for (let i = 0; i < length; i++) {
        const o = (n * length + i) * width + h * size;
        for (let j = 0; j < length; j++) {
          const weight = weights[i * length + j]! * (mask?.[(h * length + i) * length + j] ?? 1);
          const v = at(1, j);
          for (let e = 0; e < size; e++) out[o + e]! += weight * kvq[v + e]!;
        }
      }
    }
  }
  return [out, lse];
}

/** dkvq from the cotangent of `out`. */
export function attentionGrad(kvq: Float64Array, dout: Float64Array, a: AttentionCase): Float64Array {
  const { images, length, width, heads } = a;
  const grad = new Float64Array(kvq.length);
  for (let n = 0; n < images; n++) {
    const mask = a.mask(n);
    for (let h = 0; h < heads; h++) {
      const { weights, at, size } = headOf(kvq, a, n, h);
      const scale = 1 / Math.sqrt(size);
      const dweights = new Float64Array(length);
      for (let i = 0; i < length; i++) {
        const o = (n * length + i) * width + h * size;
        let inner = 0;
        for (let j = 0; j < length; j++) {
          const factor = mask?.[(h * length + i) * length + j] ?? 1;
          const weight = weights[i * length + j]!;
          const v = at(1, j);
          let dot = 0;
          for (let e = 0; e < size; e++) {
            dot += dout[o + e]! * kvq[v + e]!;
            grad[v + e]! += weight * factor * dout[o + e]!;
          }
          dweights[j] = dot * factor;
          inner += weight * dweights[j]!;
        }
        const q = at(2, i);
        for (let j = 0; j < length; j++) {
          const dscore = weights[i * length + j]! * (dweights[j]! - inner) * scale;
          const k = at(0, j);
          for (let e = 0; e < size; e++) {
            grad[q + e]! += dscore * kvq[k + e]!;
            grad[k + e]! += dscore * kvq[q + e]!;
          }
        }
      }
    }
  }
  return grad;
}

/** What dropout p multiplies `size` weights of one image by: 0 where a draw of 16 bits is below p·2^16, rounded. */
export function dropoutFactors(
  seed: number,
  stream: number,
  size: number,
  p: number,
  { sample = 0, iteration = 0, loop = 0 }: DrawPosition,
): Float64Array {
  const threshold = Math.min(Math.max(Math.round(p * 0x10000), 1), 0xffff);
  const factors = new Float64Array(size);
  for (let block = 0; 8 * block < size; block++) {
    const words = philox([block, sample, iteration, loop], [seed, stream]);
    const halves = words.flatMap((word) => [word & 0xffff, word >>> 16]);
    factors.set(halves.slice(0, size - 8 * block).map((half) => (half >= threshold ? 1 / (1 - p) : 0)), 8 * block);
  }
  return factors;
}

const wordsOf = (length: number): number => Math.ceil(length * length / 32);

/** The kept weights as bits, [images, heads, words]: bit i·length + j for query i and key j. */
export function keptWeights(a: AttentionCase): Float64Array {
  const size = a.length * a.length;
  const words = wordsOf(a.length);
  const kept = new Float64Array(a.images * a.heads * words);
  for (let n = 0; n < a.images; n++) {
    a.mask(n)!.forEach((factor, e) => {
      const bit = e % size;
      if (factor !== 0) kept[(n * a.heads + Math.floor(e / size)) * words + (bit >> 5)]! += 2 ** (bit & 31);
    });
  }
  return kept;
}

/** The factors of each image's weights behind {@linkcode keptWeights}, for dropout p. */
export function maskOf(kept: Float64Array, heads: number, length: number, p: number): AttentionCase["mask"] {
  const size = length * length;
  const words = wordsOf(length);
  return (image) =>
    Float64Array.from({ length: heads * size }, (_, e) => {
      const bit = e % size;
      const word = kept[(image * heads + Math.floor(e / size)) * words + (bit >> 5)]!;
      return (word >>> (bit & 31)) & 1 ? 1 / (1 - p) : 0;
    });
}
