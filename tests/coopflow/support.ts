import { type CoopFlowConfigInput } from "../../src/coopflow/config.ts";
import { type Dataset, fromLevels } from "../../src/data/dataset.ts";
import { randomBits } from "../../src/random.ts";

/** The smallest model that has every part of a large one: milliseconds per iteration. */
export const TINY = {
  data: { height: 4, width: 4, channels: 1, levels: 4 },
  flow: {
    scales: [[0, 1], [1, 1]],
    channels: 8,
    blocks: 1,
    components: 2,
    dropout: 0.1,
    dequantization: "uniform",
    dequantBlocks: 1,
  },
  energy: { channels: 4 },
  langevin: { steps: 2, stepSize: 0.1, sampleStepSize: 0.1, noise: true },
  training: {
    batch: 4,
    iterations: 6,
    initialisationImages: 8,
    flow: { lr: 1e-2, warmUp: 2 },
    ebm: { lr: 1e-2, warmUp: 2 },
    averaging: { flow: 0.9, ebm: 0.9 },
    checkpointEvery: 2,
    sampleEvery: 3,
  },
  seed: 3,
} satisfies CoopFlowConfigInput;

/** Images of the size of {@linkcode TINY}. */
export function tinyImages(count = 24): Dataset {
  const data = Uint8Array.from(randomBits(1, "tiny", count * 16), (bits) => bits >>> 30);
  return fromLevels({ name: "tiny", height: 4, width: 4, channels: 1, levels: 4, data });
}
