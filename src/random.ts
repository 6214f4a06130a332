/**
 * Counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as
 * 1, 2, 3", SC 2011).
 *
 * A draw is a pure function of where it is used, so it depends neither on the number of threads nor on how a batch is
 * split, and nothing has a generator state to save. The convention, shared with the native code:
 *
 * - key = (seed, {@linkcode streamHash} of the draw's name);
 * - counter = (element ≫ 2, sample index, iteration, loop index);
 * - word `element & 3` of the resulting block is the draw of `element`.
 */

import { UsageError } from "./errors.ts";

/** Four unsigned 32-bit words. */
export type Words4 = [number, number, number, number];

/** The place of a draw besides its element: unsigned 32-bit integers, 0 where absent. */
export interface DrawPosition {
  /** Index of the sample (the image) among all samples, not within a batch part. */
  readonly sample?: number;
  /** Learning iteration. */
  readonly iteration?: number;
  /** Step within a loop, such as the Langevin chain. */
  readonly loop?: number;
}

const ROUNDS = 10;
const MULTIPLIER_0 = 0xd2511f53;
const MULTIPLIER_1 = 0xcd9e8d57;
// Weyl increments of the two key words: golden ratio and √3 − 1, in units of 2^32.
const WEYL_0 = 0x9e3779b9;
const WEYL_1 = 0xbb67ae85;
const TWO_POW_MINUS_24 = 2 ** -24;
const MAX_U32 = 0xffffffff;

/** High word of the 64-bit product of two unsigned 32-bit numbers; the low one is `Math.imul(a, b) >>> 0`. */
function multiplyHigh(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  // Every partial sum stays below 2^34, so doubles hold it exactly; only the first fits `>>>`.
  const middle = aHigh * bLow + aLow * bHigh + ((aLow * bLow) >>> 16);
  return (aHigh * bHigh + Math.floor(middle / 0x10000)) >>> 0;
}

/** Writes the block of counter (c0, c1, c2, c3) under key (k0, k1) to `out`, without allocating. */
function philoxInto(
  out: Uint32Array,
  c0: number,
  c1: number,
  c2: number,
  c3: number,
  k0: number,
  k1: number,
): void {
  for (let round = 0; round < ROUNDS; round++) {
    const high0 = multiplyHigh(MULTIPLIER_0, c0);
    const low0 = Math.imul(MULTIPLIER_0, c0);
    const high1 = multiplyHigh(MULTIPLIER_1, c2);
    const low1 = Math.imul(MULTIPLIER_1, c2);
    c0 = (high1 ^ c1 ^ k0) >>> 0;
    c1 = low1 >>> 0;
    c2 = (high0 ^ c3 ^ k1) >>> 0;
    c3 = low0 >>> 0;
    k0 = (k0 + WEYL_0) >>> 0;
    k1 = (k1 + WEYL_1) >>> 0;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
}

/** One block of Philox4x32-10: four random words for a counter and a key, all unsigned 32-bit. */
export function philox(counter: Readonly<Words4>, key: readonly [number, number]): Words4 {
  const out = new Uint32Array(4);
  philoxInto(
    out,
    counter[0] >>> 0,
    counter[1] >>> 0,
    counter[2] >>> 0,
    counter[3] >>> 0,
    key[0] >>> 0,
    key[1] >>> 0,
  );
  return [out[0] ?? 0, out[1] ?? 0, out[2] ?? 0, out[3] ?? 0];
}

const utf8 = new TextEncoder();

/** The second key word of a named stream: 32-bit FNV-1a of the name's UTF-8 bytes. */
export function streamHash(name: string): number {
  let hash = 0x811c9dc5;
  for (const byte of utf8.encode(name)) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}

/**
 * The raw draws of elements 0 … n−1: n random 32-bit words.
 *
 * @throws {UsageError} if the seed or a position is no unsigned 32-bit integer, or n no count
 */
export function randomBits(seed: number, stream: string, n: number, at: DrawPosition = {}): Uint32Array<ArrayBuffer> {
  checkCount(n);
  const sample = u32(at.sample ?? 0, "sample");
  const iteration = u32(at.iteration ?? 0, "iteration");
  const loop = u32(at.loop ?? 0, "loop");
  const key0 = u32(seed, "seed");
  const key1 = streamHash(stream);
  const bits = new Uint32Array(n);
  const block = new Uint32Array(4);
  for (let first = 0; first < n; first += 4) {
    philoxInto(block, first / 4, sample, iteration, loop, key0, key1);
    bits.set(n - first >= 4 ? block : block.subarray(0, n - first), first);
  }
  return bits;
}

/**
 * n float32 draws from U[0, 1): (bits ≫ 8)·2⁻²⁴, identical on every backend.
 *
 * @throws {UsageError} as {@linkcode randomBits}
 */
export function uniforms(seed: number, stream: string, n: number, at: DrawPosition = {}): Float32Array<ArrayBuffer> {
  const bits = randomBits(seed, stream, n, at);
  const out = new Float32Array(n);
  for (let i = 0; i < n; i++) out[i] = ((bits[i] ?? 0) >>> 8) * TWO_POW_MINUS_24;
  return out;
}

/**
 * n float32 draws from N(0, 1), by Box–Muller on pairs: elements 2j and 2j + 1 are r·cos(2πu₂) and r·sin(2πu₂) with
 * r = √(−2 ln u₁), u₁ ∈ (0, 1] from the word of element 2j and u₂ ∈ [0, 1) from that of 2j + 1.
 *
 * Computed in float64 and rounded once; the native code's float32 polynomials agree within 1e-6 of the value's scale.
 *
 * @throws {UsageError} as {@linkcode randomBits}
 */
export function normals(seed: number, stream: string, n: number, at: DrawPosition = {}): Float32Array<ArrayBuffer> {
  checkCount(n);
  // An odd last element is the first of a pair, and needs both words.
  const bits = randomBits(seed, stream, n + (n % 2), at);
  const out = new Float32Array(n);
  for (let i = 0; i < n; i += 2) {
    const u1 = (((bits[i] ?? 0) >>> 8) + 1) * TWO_POW_MINUS_24;
    const u2 = ((bits[i + 1] ?? 0) >>> 8) * TWO_POW_MINUS_24;
    const r = Math.sqrt(-2 * Math.log(u1));
    const [cosine, sine] = circle(u2);
    out[i] = r * cosine;
    if (i + 1 < n) out[i + 1] = r * sine;
  }
  return out;
}

/** [cos 2πu, sin 2πu] for u ∈ [0, 1), exact at quarter turns, where Math.cos(2πu) is not. */
function circle(u: number): readonly [number, number] {
  const quarter = Math.floor(4 * u + 0.5);
  const angle = (4 * u - quarter) * (Math.PI / 2);
  const c = Math.cos(angle);
  const s = Math.sin(angle);
  switch (quarter & 3) {
    case 0:
      return [c, s];
    case 1:
      return [-s, c];
    case 2:
      return [-c, -s];
    default:
      return [s, -c];
  }
}

/**
 * A uniformly random order of 0 … n−1: Fisher–Yates, its swaps drawn without bias (Lemire's multiplication with
 * rejection, ACM TOMACS 29, 2019) from the words of `stream` at iteration = `epoch`.
 *
 * @throws {UsageError} if the seed or epoch is no unsigned 32-bit integer, or n no count below 2³²
 */
export function permutation(seed: number, stream: string, epoch: number, n: number): Uint32Array<ArrayBuffer> {
  checkCount(n);
  const key0 = u32(seed, "seed");
  const key1 = streamHash(stream);
  const iteration = u32(epoch, "epoch");
  const block = new Uint32Array(4);
  const order = new Uint32Array(n);
  for (let i = 0; i < n; i++) order[i] = i;

  let drawn = 0;
  const next = (): number => {
    if ((drawn & 3) === 0) philoxInto(block, drawn / 4, 0, iteration, 0, key0, key1);
    return block[drawn++ & 3] ?? 0;
  };
  for (let i = n - 1; i > 0; i--) {
    const bound = i + 1;
    let word = next();
    // The low word of the product tells which of 2^32 mod bound surplus words were drawn: they are drawn again.
    const surplus = 0x100000000 % bound;
    while (Math.imul(word, bound) >>> 0 < surplus) word = next();
    const j = multiplyHigh(word, bound);
    const swapped = order[i] ?? 0;
    order[i] = order[j] ?? 0;
    order[j] = swapped;
  }
  return order;
}

function u32(value: number, what: string): number {
  if (Number.isInteger(value) && value >= 0 && value <= MAX_U32) return value;
  throw new UsageError(`${what} must be an integer from 0 to ${MAX_U32}, got ${value}`);
}

function checkCount(n: number): void {
  if (Number.isInteger(n) && n >= 0 && n <= MAX_U32) return;
  throw new UsageError(`the number of draws must be an integer from 0 to ${MAX_U32}, got ${n}`);
}
