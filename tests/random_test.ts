import { describe, it } from "@std/testing/bdd";
import { assert, assertAlmostEquals, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { UsageError } from "../src/errors.ts";
import { normals, permutation, philox, randomBits, streamHash, uniforms, type Words4 } from "../src/random.ts";

const u32 = () => fc.integer({ min: 0, max: 0xffffffff });

/** Philox4x32-10 once more, in 64-bit integers as its authors write it. */
function philoxOfBigInts(counter: Words4, key: [number, number]): Words4 {
  const mask = 0xffffffffn;
  let [c0, c1, c2, c3] = counter.map(BigInt) as [bigint, bigint, bigint, bigint];
  let [k0, k1] = key.map(BigInt) as [bigint, bigint];
  for (let round = 0; round < 10; round++) {
    const p0 = 0xd2511f53n * c0;
    const p1 = 0xcd9e8d57n * c2;
    [c0, c1, c2, c3] = [(p1 >> 32n) ^ c1 ^ k0, p1 & mask, (p0 >> 32n) ^ c3 ^ k1, p0 & mask];
    k0 = (k0 + 0x9e3779b9n) & mask;
    k1 = (k1 + 0xbb67ae85n) & mask;
  }
  return [c0, c1, c2, c3].map(Number) as Words4;
}

describe("philox", () => {
  it("gives Random123's known answers", () => {
    const ones = 0xffffffff;
    const answers: readonly [Words4, [number, number], Words4][] = [
      [[0, 0, 0, 0], [0, 0], [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]],
      [[ones, ones, ones, ones], [ones, ones], [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]],
      [
        [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
        [0xa4093822, 0x299f31d0],
        [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
      ],
    ];
    for (const [counter, key, expected] of answers) assertEquals(philox(counter, key), expected);
  });

  it("agrees with 64-bit integer arithmetic", () => {
    fc.assert(fc.property(fc.tuple(u32(), u32(), u32(), u32()), fc.tuple(u32(), u32()), (counter, key) => {
      assertEquals(philox(counter, key), philoxOfBigInts(counter, key));
    }));
  });
});

describe("streamHash", () => {
  it("is 32-bit FNV-1a of the UTF-8 name", () => {
    assertEquals(streamHash(""), 0x811c9dc5);
    assertEquals(streamHash("a"), 0xe40c292c);
    assertEquals(streamHash("foobar"), 0xbf9cf968);
    // U+00E9 is the two bytes C3 A9.
    const bytes = [0xc3, 0xa9];
    assertEquals(streamHash("é"), bytes.reduce((h, b) => Math.imul(h ^ b, 0x01000193) >>> 0, 0x811c9dc5));
  });
});

describe("randomBits", () => {
  it("follows the convention: counter (element >> 2, sample, iteration, loop), key (seed, stream)", () => {
    const at = { sample: 5, iteration: 6, loop: 7 };
    const bits = randomBits(9, "noise", 11, at);
    for (let element = 0; element < 11; element++) {
      const block = philox([element >> 2, 5, 6, 7], [9, streamHash("noise")]);
      assertEquals(bits[element], block[element & 3]);
    }
  });

  it("draws an element the same, however many are drawn", () => {
    fc.assert(fc.property(u32(), fc.nat(40), fc.nat(40), (seed, n, m) => {
      const few = randomBits(seed, "s", Math.min(n, m));
      assertEquals(randomBits(seed, "s", Math.max(n, m)).subarray(0, few.length), few);
    }));
  });

  it("differs with every part of the position", () => {
    const base = randomBits(1, "s", 8);
    const others = [
      randomBits(2, "s", 8),
      randomBits(1, "t", 8),
      ...["sample", "iteration", "loop"].map((part) => randomBits(1, "s", 8, { [part]: 1 })),
    ];
    for (const other of others) assertNotEquals(other, base);
  });

  it("refuses what is no unsigned 32-bit integer", () => {
    for (const bad of [-1, 0.5, 2 ** 32, NaN]) {
      assertThrows(() => randomBits(bad, "s", 1), UsageError, "seed must be an integer");
      assertThrows(() => randomBits(0, "s", 1, { sample: bad }), UsageError, "sample");
      assertThrows(() => randomBits(0, "s", bad), UsageError, "number of draws");
    }
  });
});

describe("uniforms", () => {
  it("are the upper 24 bits, in [0, 1)", () => {
    const bits = randomBits(3, "u", 1000);
    const values = uniforms(3, "u", 1000);
    values.forEach((value, i) => assertEquals(value, Math.floor((bits[i] ?? 0) / 256) / 2 ** 24));
    assert(values.every((value) => value >= 0 && value < 1));
  });

  it("have the moments of U[0, 1)", () => {
    const n = 100_000;
    const values = uniforms(0, "u", n);
    const mean = values.reduce((sum, v) => sum + v, 0) / n;
    const square = values.reduce((sum, v) => sum + v * v, 0) / n;
    // Five standard errors.
    assertAlmostEquals(mean, 1 / 2, 5 * Math.sqrt(1 / 12 / n));
    assertAlmostEquals(square, 1 / 3, 5 * Math.sqrt(4 / 45 / n));
  });
});

describe("normals", () => {
  it("are Box-Muller on pairs of words", () => {
    const bits = randomBits(3, "n", 100, { iteration: 2 });
    const values = normals(3, "n", 100, { iteration: 2 });
    for (let i = 0; i < 100; i += 2) {
      const r = Math.sqrt(-2 * Math.log((((bits[i] ?? 0) >>> 8) + 1) / 2 ** 24));
      const angle = 2 * Math.PI * ((bits[i + 1] ?? 0) >>> 8) / 2 ** 24;
      assertAlmostEquals(values[i] ?? NaN, r * Math.cos(angle), 1e-6);
      assertAlmostEquals(values[i + 1] ?? NaN, r * Math.sin(angle), 1e-6);
    }
  });

  it("of an odd count begin those of the next even one", () => {
    assertEquals(normals(3, "n", 7), normals(3, "n", 8).subarray(0, 7));
  });

  it("have the moments of N(0, 1)", () => {
    const n = 200_000;
    const values = normals(1, "n", n);
    const moment = (k: number) => values.reduce((sum, v) => sum + v ** k, 0) / n;
    // Five standard errors: the variance of v^k is E v^2k - (E v^k)^2.
    assertAlmostEquals(moment(1), 0, 5 / Math.sqrt(n));
    assertAlmostEquals(moment(2), 1, 5 * Math.sqrt(2 / n));
    assertAlmostEquals(moment(3), 0, 5 * Math.sqrt(15 / n));
    assertAlmostEquals(moment(4), 3, 5 * Math.sqrt(96 / n));
    const products = values.reduce((sum, v, i) => i % 2 === 0 ? sum + v * (values[i + 1] ?? 0) : sum, 0) / (n / 2);
    assertAlmostEquals(products, 0, 5 / Math.sqrt(n / 2));
  });
});

describe("permutation", () => {
  it("holds every index once, and depends on seed, stream and epoch", () => {
    fc.assert(fc.property(u32(), u32(), fc.nat(300), (seed, epoch, n) => {
      const order = permutation(seed, "data", epoch, n);
      assertEquals(order.toSorted(), Uint32Array.from({ length: n }, (_, i) => i));
      assertEquals(permutation(seed, "data", epoch, n), order);
    }));
    const order = permutation(1, "data", 0, 100);
    assertNotEquals(permutation(1, "data", 1, 100), order);
    assertNotEquals(permutation(2, "data", 0, 100), order);
    assertNotEquals(permutation(1, "other", 0, 100), order);
  });

  it("is uniform: all orders of four equally often", () => {
    const draws = 24_000;
    const counts = new Map<string, number>();
    for (let epoch = 0; epoch < draws; epoch++) {
      const key = permutation(0, "data", epoch, 4).join();
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
    assertEquals(counts.size, 24);
    const expected = draws / 24;
    const chiSquare = [...counts.values()].reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
    // 23 degrees of freedom: exceeded with probability 1e-4; the draws are fixed, so the test always says the same.
    assert(chiSquare < 57, `chi-square ${chiSquare}`);
  });
});
