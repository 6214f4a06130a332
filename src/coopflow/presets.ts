/** Ready-made configurations. */
import { FLOW_CELEBA64 } from "../flow/config.ts";
import { type CoopFlowConfig, type CoopFlowConfigInput, parseConfig } from "./config.ts";
import type { PresetName } from "./preset_names.ts";

const SMALL_NETWORKS = {
  flow: { channels: 32, blocks: 2, dequantBlocks: 1, components: 8 },
  energy: { channels: 32 },
} as const;

const DIGITS_OPTIMIZER = { lr: 1e-3, clip: 1, warmUp: 50, decayLast: 0.5 } as const;

/** Epochs of every recipe of the reference. */
const EPOCHS = 200;
/** The paper's batch. */
const BATCH = 28;

/** Iterations of the reference's epochs on this many images, the last batch of an epoch being short. */
function iterationsOn(images: number): number {
  return EPOCHS * Math.ceil(images / BATCH);
}

const CIFAR10 = parseConfig({ data: { flip: true }, training: { batch: BATCH, iterations: iterationsOn(50_000) } });

/** What the reference's recipes for SVHN and CelebA have in common. */
const WITHOUT_FLIPS = {
  langevin: { sampleStepSize: 0.035 },
  optimizers: {
    flow: { clip: 1, clipBy: "whole", threshold: 1e6 },
    ebm: { clip: 1, threshold: 5e6 },
  },
} as const;

/** All of CelebA: the reference does not split it. */
const CELEBA = {
  langevin: WITHOUT_FLIPS.langevin,
  training: { ...WITHOUT_FLIPS.optimizers, batch: BATCH, iterations: iterationsOn(202_599) },
} as const;

const DIGITS = parseConfig({
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
});
const SVHN = parseConfig({
  langevin: WITHOUT_FLIPS.langevin,
  training: { ...WITHOUT_FLIPS.optimizers, batch: BATCH, iterations: iterationsOn(73_257) },
});
const CELEBA32 = parseConfig(CELEBA);

/**
 * CoopFlow(Pre): what `base` becomes when a flow that was trained alone begins it. Of `epochs` (the first of which ignores the EBM's threshold)
 * of `images` the EBM learns alone in `energyOnly`.
 */
function pre(
  base: CoopFlowConfig,
  { images, epochs, energyOnly }: { images: number; epochs: number; energyOnly: number },
  change: NonNullable<CoopFlowConfigInput["training"]> = {},
): CoopFlowConfig {
  const { training } = base;
  const epoch = Math.ceil(images / training.batch);
  return parseConfig({
    ...base,
    training: {
      ...training,
      iterations: epochs * epoch,
      flowFrom: energyOnly * epoch,
      thresholdFrom: epoch,
      ...change,
      flow: { ...training.flow, clipBy: "whole", ...change.flow },
      ebm: { ...training.ebm, ...change.ebm },
    },
  });
}

/** CoopFlow(Long): T = 200 (Xie et al. 2022, §5.1). */
function long(base: CoopFlowConfig): CoopFlowConfig {
  return parseConfig({ ...base, langevin: { ...base.langevin, steps: 200 } });
}

/** Ready-made configurations, by name. */
export const presets: Readonly<Record<PresetName, CoopFlowConfig>> = {
  /** Handwritten digits, 8×8 grey: minutes on a laptop CPU. */
  digits: DIGITS,
  /**
   * CoopFlow(Pre) on digits: to be begun with a flow of phase `flow` (255 iterations: then both together take as long as `digits`). As in the reference's
   * recipe for CelebA the flow learns in one iteration of five, so that the EBM has time for more; its average is over as many fewer updates.
   */
  "digits-pre": parseConfig({
    ...DIGITS,
    training: {
      ...DIGITS.training,
      iterations: 1130,
      flowEvery: 5,
      averaging: { ...DIGITS.training.averaging, flow: 0.98 },
    },
  }),
  /** CoopFlow(Long) on digits. */
  "digits-long": long(DIGITS),
  /** 32×32 colour images, networks as small as those of `digits`: for measurements between the other two. */
  small: parseConfig({ ...SMALL_NETWORKS, training: { batch: 16, initialisationImages: 320 } }),
  /** The same as `cifar10`: the paper's networks, 46 million parameters. */
  paper: CIFAR10,
  /** CIFAR-10 as the reference learns it. */
  cifar10: CIFAR10,
  /** CoopFlow(Pre) on CIFAR-10, as the reference learns it. */
  "cifar10-pre": pre(CIFAR10, { images: 50_000, epochs: EPOCHS, energyOnly: 26 }, {
    flow: { threshold: 5e5 },
    ebm: { clip: 5e5, threshold: 5e5 },
  }),
  /** CoopFlow(Long) on CIFAR-10. */
  "cifar10-long": long(CIFAR10),
  /** SVHN's train split as the reference learns it. */
  svhn: SVHN,
  /** CoopFlow(Pre) on SVHN, as the reference learns it. */
  "svhn-pre": pre(SVHN, { images: 73_257, epochs: 100, energyOnly: 11 }),
  /** CelebA at 32×32 as the reference learns it. */
  celeba32: CELEBA32,
  /** CoopFlow(Pre) on CelebA, as the reference learns it. */
  "celeba32-pre": pre(CELEBA32, { images: 202_599, epochs: 100, energyOnly: 10 }, { flowEvery: 5 }),
  /** The reference's networks for 64×64 images, learnt as `celeba32`: it has no recipe for them. */
  celeba64: parseConfig({
    ...CELEBA,
    data: { height: FLOW_CELEBA64.height, width: FLOW_CELEBA64.width },
    flow: {
      scales: FLOW_CELEBA64.scales.map(([channelwise, checkerboard]) => [channelwise, checkerboard]),
      blocks: FLOW_CELEBA64.blocks,
      components: FLOW_CELEBA64.components,
      dropout: FLOW_CELEBA64.dropout,
      invConv: FLOW_CELEBA64.invConv,
      dequantAttention: FLOW_CELEBA64.dequantAttention,
    },
  }),
};
