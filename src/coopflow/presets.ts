/** Ready-made configurations. */
import { type CoopFlowConfig, parseConfig } from "./config.ts";

/** Names of the ready-made configurations. */
export type PresetName = "digits" | "small" | "paper";

const SMALL_NETWORKS = {
  flow: { channels: 32, blocks: 2, dequantBlocks: 1, components: 8 },
  energy: { channels: 32 },
} as const;

const DIGITS_OPTIMIZER = { lr: 1e-3, clip: 1, warmUp: 50, decayLast: 0.5 } as const;

/** Ready-made configurations, by name. */
export const presets: Readonly<Record<PresetName, CoopFlowConfig>> = {
  /** Handwritten digits, 8×8 grey: minutes on a laptop CPU. */
  digits: parseConfig({
    data: { height: 8, width: 8, channels: 1, levels: 17 },
    flow: { ...SMALL_NETWORKS.flow, dropout: 0 },
    energy: SMALL_NETWORKS.energy,
    langevin: { steps: 30, stepSize: 0.3, sampleStepSize: 0.3 },
    training: {
      batch: 64,
      iterations: 850,
      initialisationImages: 1280,
      flow: DIGITS_OPTIMIZER,
      ebm: DIGITS_OPTIMIZER,
      averaging: { flow: 0.995, ebm: 0.995 },
      checkpointEvery: 250,
      sampleEvery: 250,
    },
  }),
  /** 32×32 colour images, networks as small as those of `digits`: for measurements between the other two. */
  small: parseConfig({ ...SMALL_NETWORKS, training: { batch: 16, initialisationImages: 320 } }),
  /** The paper's CIFAR-10 networks: 46 million parameters. */
  paper: parseConfig({ data: { flip: true } }),
};
