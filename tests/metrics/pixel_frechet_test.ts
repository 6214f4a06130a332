import { describe, it } from "@std/testing/bdd";
import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { readAll } from "../../src/data/dataset.ts";
import { digits } from "../../src/data/digits.ts";
import { DataError } from "../../src/errors.ts";
import { pixelFrechetDistance, pixelMoments, pixelMomentsOf } from "../../src/metrics/pixel_frechet.ts";
import { uniforms } from "../../src/random.ts";

describe("pixelFrechetDistance", () => {
  it("is 0.11 for training digits and about 10 for noise, against the held-out digits", async () => {
    const { train, heldout } = await digits();
    const reference = pixelMomentsOf(heldout);
    const ofTrain = pixelFrechetDistance(readAll(train), train.count, reference);
    assertAlmostEquals(ofTrain, 0.1075, 5e-5);
    const noise = uniforms(0, "noise", 1500 * 64).map((value) => 2 * value - 1);
    assertAlmostEquals(pixelFrechetDistance(noise, 1500, reference), 10, 0.1);
    assertEquals(pixelFrechetDistance(readAll(train), train.count, heldout), ofTrain);
    assert(pixelFrechetDistance(readAll(heldout), heldout.count, heldout) < 1e-12);
  });

  it("maps [-1, 1] to [0, 1]", () => {
    const { mean, covariance } = pixelMoments(Float32Array.of(-1, 1), 2);
    assertEquals([mean[0], covariance[0]], [0.5, 0.5]);
  });

  it("refuses images of another size", async () => {
    const { heldout } = await digits();
    assertThrows(() => pixelMoments(new Float32Array(7), 2), DataError, "2 images of one size, got 7 values");
    assertThrows(() => pixelFrechetDistance(new Float32Array(8), 2, heldout), DataError, "2 images of 64 values");
    assertThrows(() => pixelFrechetDistance(new Float32Array(8), 2, pixelMomentsOf(heldout)), DataError, "4 and 64");
  });
});
