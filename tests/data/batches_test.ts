import { describe, it } from "@std/testing/bdd";
import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { DataError, UsageError } from "../../src/errors.ts";
import { batchIndices, BatchStream } from "../../src/data/batches.ts";
import { fromLevels, readAll } from "../../src/data/dataset.ts";
import { permutation } from "../../src/random.ts";

const seeds = fc.integer({ min: 0, max: 0xffffffff });
const sizes = fc.integer({ min: 1, max: 40 });

describe("batchIndices", () => {
  it("cuts the stream of permutations, batches larger than the set included", () => {
    fc.assert(fc.property(seeds, fc.nat(50), sizes, sizes, (seed, iteration, batch, count) => {
      const indices = batchIndices(seed, iteration, batch, count);
      assertEquals(indices.length, batch);
      indices.forEach((index, j) => {
        const p = iteration * batch + j;
        assertEquals(index, permutation(seed, "data", Math.floor(p / count), count)[p % count]);
      });
    }));
  });

  it("shows every image once per epoch, however it is cut into batches", () => {
    fc.assert(fc.property(seeds, sizes, sizes, (seed, batch, count) => {
      const seen = new Uint32Array(count);
      for (let iteration = 0; iteration < count; iteration++) {
        for (const index of batchIndices(seed, iteration, batch, count)) seen[index] = (seen[index] ?? 0) + 1;
      }
      // count batches of `batch` images are exactly `batch` epochs.
      assertEquals(seen, new Uint32Array(count).fill(batch));
    }));
  });

  it("does not depend on what was asked before", () => {
    const fresh = batchIndices(5, 100, 8, 30);
    for (let i = 0; i < 20; i++) batchIndices(i, i * 7, 8, 30);
    assertEquals(batchIndices(5, 100, 8, 30), fresh);
    // The result is the caller's own.
    fresh.fill(0);
    assertEquals(batchIndices(5, 100, 8, 30).some((index) => index !== 0), true);
  });

  it("works far into a run", () => {
    assertEquals(batchIndices(0, 10 ** 9, 256, 50_000).length, 256);
  });

  it("refuses arguments out of range", () => {
    assertThrows(() => batchIndices(0, -1, 1, 1), UsageError, "iteration");
    assertThrows(() => batchIndices(0, 0, 0, 1), UsageError, "batch size");
    assertThrows(() => batchIndices(0, 0, 1, 0), UsageError, "number of images");
    assertThrows(() => batchIndices(-1, 0, 1, 1), UsageError, "seed");
  });
});

describe("BatchStream", () => {
  const height = 2;
  const width = 3;
  const channels = 3;
  const elements = height * width * channels;
  const data = Uint8Array.from({ length: 10 * elements }, (_, i) => i);
  const set = fromLevels({ name: "set", height, width, channels, levels: 256, data });
  const all = readAll(set);

  /** Image `index`, mirrored or not, as plain numbers. */
  function image(index: number, mirrored: boolean): number[] {
    const out: number[] = [];
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        for (let c = 0; c < channels; c++) {
          const column = mirrored ? width - 1 - x : x;
          out.push(all[index * elements + (y * width + column) * channels + c] ?? NaN);
        }
      }
    }
    return out;
  }

  it("fills in the images of batchIndices", () => {
    const stream = new BatchStream(set, { seed: 3, batch: 4 });
    const into = new Float32Array(stream.elements);
    for (const iteration of [0, 7, 2]) {
      const indices = stream.fill(iteration, into);
      assertEquals(indices, batchIndices(3, iteration, 4, 10));
      assertEquals([...into], [...indices].flatMap((index) => image(index, false)));
    }
  });

  it("mirrors about half of the images, the same ones every time", () => {
    const stream = new BatchStream(set, { seed: 3, batch: 20, flip: true });
    const into = new Float32Array(stream.elements);
    const again = new Float32Array(stream.elements);
    let mirrored = 0;
    for (let iteration = 0; iteration < 50; iteration++) {
      const indices = stream.fill(iteration, into);
      for (const [j, index] of indices.entries()) {
        const found = [...into.subarray(j * elements, (j + 1) * elements)].join();
        if (found === image(index, true).join()) mirrored++;
        else assertEquals(found, image(index, false).join());
      }
      stream.fill(iteration, again);
      assertEquals(again, into);
    }
    // Five standard deviations of 1,000 fair coins.
    assertAlmostEquals(mirrored, 500, 5 * Math.sqrt(250));
    assert(new BatchStream(set, { seed: 3, batch: 1 }).flip === false);
  });

  it("refuses an array of another size", () => {
    const stream = new BatchStream(set, { seed: 0, batch: 2 });
    assertThrows(() => stream.fill(0, new Float32Array(3)), DataError, "batch of 36 values, got 3");
    assertThrows(() => new BatchStream(set, { seed: 0, batch: 0 }), UsageError, "batch size");
  });
});
