import { describe, it } from "@std/testing/bdd";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { readAll } from "../../src/data/dataset.ts";
import { invertedImages, uniformNoise } from "../../src/data/derived.ts";
import { tinyImages } from "../coopflow/support.ts";

describe("derived data sets", () => {
  it("invertedImages negates every value", () => {
    const data = tinyImages(5);
    const inverted = invertedImages(data);
    assertEquals([inverted.count, inverted.levels, inverted.name], [5, 4, "tiny, inverted"]);
    assertEquals(readAll(inverted).map((value) => -value), readAll(data));
    // One image, not the room around it.
    const room = new Float32Array(48).fill(2);
    inverted.read(1, room, 16);
    assertEquals(room.filter((value) => value === 2).length, 32);
  });

  it("uniformNoise draws each level equally often, image by image", () => {
    const noise = uniformNoise(tinyImages(500), 3);
    const values = readAll(noise);
    const counts = [0, 1, 2, 3].map((level) =>
      values.filter((value) => Math.abs(value - (2 * level / 3 - 1)) < 1e-6).length
    );
    assertEquals(counts.reduce((a, b) => a + b, 0), 500 * 16);
    // 2,000 expected of each, standard deviation 39.
    assert(counts.every((count) => Math.abs(count - 2000) < 200), String(counts));
    const one = new Float32Array(16);
    noise.read(77, one, 0);
    assertEquals(one, values.subarray(77 * 16, 78 * 16));
    assert(uniformNoise(tinyImages(1), 4).name === "uniform noise");
    assertThrows(() => noise.read(500, one, 0));
  });
});
