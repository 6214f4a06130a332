import { describe, it } from "@std/testing/bdd";
import { assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { DataError } from "../../src/errors.ts";
import { fromLevels, readAll, subset } from "../../src/data/dataset.ts";

function numbered(count: number, levels = 256) {
  const data = Uint8Array.from({ length: count * 2 }, (_, i) => i % levels);
  return fromLevels({ name: "set", height: 1, width: 2, channels: 1, levels, data });
}

describe("fromLevels", () => {
  it("maps levels to [-1, 1]: the reference's level / 127.5 - 1 for 256", () => {
    const data = Uint8Array.from({ length: 256 }, (_, level) => level);
    const set = fromLevels({ name: "set", height: 16, width: 16, channels: 1, levels: 256, data });
    assertEquals(readAll(set), Float32Array.from(data, (level) => level / 127.5 - 1));
  });

  it("keeps levels apart and ends at -1 and 1, for any number of levels", () => {
    fc.assert(fc.property(fc.integer({ min: 2, max: 256 }), (levels) => {
      const data = Uint8Array.from({ length: levels }, (_, level) => level);
      const values = readAll(fromLevels({ name: "set", height: 1, width: 1, channels: 1, levels, data }));
      assertEquals([values[0], values[levels - 1]], [-1, 1]);
      assertEquals(Uint8Array.from(values, (v) => Math.round((v + 1) / 2 * (levels - 1))), data);
    }));
  });

  it("reads one image to its place, and touches nothing else", () => {
    const into = new Float32Array(6).fill(9);
    numbered(3).read(1, into, 3);
    assertEquals(into, Float32Array.of(9, 9, 9, 2 / 127.5 - 1, 3 / 127.5 - 1, 9));
  });

  it("refuses sizes, levels and data that do not fit", () => {
    const good = { name: "set", height: 1, width: 2, channels: 1, levels: 4, data: Uint8Array.of(0, 1, 2, 3) };
    const refused: readonly [object, string][] = [
      [{ height: 0 }, "set: expected a positive height, got 0"],
      [{ width: 1.5 }, "set: expected a positive width, got 1.5"],
      [{ levels: 1 }, "set: expected 2 to 256 levels, got 1"],
      [{ levels: 257 }, "set: expected 2 to 256 levels, got 257"],
      [{ data: new Uint8Array(0) }, "set: expected at least one image, found none"],
      [{ width: 3 }, "set: expected a multiple of 3 values (1×3×1), found 4"],
      [{ levels: 3 }, "set: expected levels 0 to 2, found 3 in image 1"],
    ];
    for (const [change, message] of refused) {
      assertEquals(assertThrows(() => fromLevels({ ...good, ...change }), DataError).message, message);
    }
  });

  it("refuses to read what is not there or has no room", () => {
    const set = numbered(3);
    for (const index of [-1, 3, 0.5, NaN]) {
      assertThrows(() => set.read(index, new Float32Array(2), 0), DataError, "index from 0 to 2");
    }
    for (const offset of [-1, 1, 0.5]) {
      assertThrows(() => set.read(0, new Float32Array(2), offset), DataError, "does not fit an array of 2");
    }
  });
});

describe("subset", () => {
  it("has the chosen images in the chosen order", () => {
    const set = numbered(4);
    const some = subset(set, "some", Uint32Array.of(2, 0, 2));
    assertEquals([some.name, some.count, some.levels], ["some", 3, 256]);
    const all = readAll(set);
    const expected = [2, 0, 2].flatMap((i) => [...all.subarray(2 * i, 2 * i + 2)]);
    assertEquals(readAll(some), Float32Array.from(expected));
    assertThrows(() => some.read(3, new Float32Array(2), 0), DataError, "some: expected an image index");
  });

  it("refuses indices that are not there", () => {
    assertThrows(() => subset(numbered(2), "some", Uint32Array.of(0, 2)), DataError, "indices below 2");
    assertThrows(() => subset(numbered(2), "some", new Uint32Array(0)), DataError, "at least one image");
  });
});
