/** Data sets made of another: what a model should find unlikely. */

import { uniforms } from "../random.ts";
import { checkRead, type Dataset, imageElements } from "./dataset.ts";

/** The same images with each value negated: bright becomes dark. */
export function invertedImages(dataset: Dataset): Dataset {
  return {
    ...sizeOf(dataset),
    name: `${dataset.name}, inverted`,
    count: dataset.count,
    read(index, into, offset) {
      dataset.read(index, into, offset);
      const end = offset + imageElements(dataset);
      for (let i = offset; i < end; i++) into[i] = -into[i]!;
    },
  };
}

/**
 * As many images of the same size whose values are independent and of each level equally often; image i depends on the seed and i alone.
 */
export function uniformNoise(dataset: Omit<Dataset, "name" | "read">, seed = 0): Dataset {
  const { levels } = dataset;
  const size = imageElements(dataset);
  return {
    ...sizeOf(dataset),
    name: "uniform noise",
    count: dataset.count,
    read(index, into, offset) {
      checkRead(this, index, into, offset);
      const drawn = uniforms(seed, "uniform noise", size, { sample: index });
      drawn.forEach((u, i) => into[offset + i] = 2 * Math.floor(u * levels) / (levels - 1) - 1);
    },
  };
}

function sizeOf(
  { height, width, channels, levels }: Omit<Dataset, "name" | "read">,
): Pick<Dataset, "height" | "width" | "channels" | "levels"> {
  return { height, width, channels, levels };
}
