import { assert, assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { DigitFeatures, DIGITS } from "../../src/coopflow/digit_features.ts";
import { readAll } from "../../src/data/dataset.ts";
import { digits } from "../../src/data/digits.ts";
import { DataError } from "../../src/errors.ts";
import { readSafetensors, toIntegers } from "../../src/io/safetensors.ts";
import { frechetDistance, momentsOf } from "../../src/metrics/frechet.ts";
import { buildInfo } from "../../src/runtime/device.ts";

// Opened before any test begins: the library stays open, and the first test would be called its leak.
buildInfo();

const FILE = new URL("../../src/data/digits.safetensors", import.meta.url).pathname;

describe("DigitFeatures", () => {
  it("comes from a network that tells at least 97 % of the held-out digits apart", async () => {
    const { tensors } = await readSafetensors(FILE);
    const labels = toIntegers(tensors.get("labels")!);
    const { heldout } = await digits();
    using network = await DigitFeatures.open({ device: "cpu", threads: 1 });
    const logits = await network.logits(readAll(heldout), heldout.count);
    let right = 0;
    toIntegers(tensors.get("heldout")!).forEach((index, i) => {
      const row = logits.subarray(i * DIGITS, (i + 1) * DIGITS);
      if (row.indexOf(Math.max(...row)) === labels[index]) right++;
    });
    assert(right / heldout.count >= 0.97, `${right} of ${heldout.count}`);
  });

  it("puts digits near digits, whatever the size of a batch", async () => {
    const { train, heldout } = await digits();
    using network = await DigitFeatures.open({ device: "cpu", threads: 1 });
    const features = await network.extract(readAll(train), train.count);
    assertEquals(features.length, train.count * network.dimension);
    const some = await network.extract(readAll(train).subarray(0, 3 * 64), 3);
    some.forEach((value, i) => assertAlmostEquals(value, features[i]!, 1e-6));
    const moments = async (images: Float32Array, count: number) =>
      momentsOf(await network.extract(images, count), count, network.dimension);
    const seen = momentsOf(features, train.count, network.dimension);
    const near = frechetDistance(seen, await moments(readAll(heldout), heldout.count));
    const far = frechetDistance(seen, await moments(readAll(heldout).map((value) => -value), heldout.count));
    assert(near * 20 < far, `${near} and ${far}`);
  });

  it("refuses images of another size", async () => {
    using network = await DigitFeatures.open({ device: "cpu", threads: 1 });
    await assertRejects(() => network.extract(new Float32Array(100), 1), DataError, "expected 1 grey images of 8×8");
  });
});
