/** How densities of the plane are learnt. */
import type { PointEnergyConfig } from "../../energy/point_energy.ts";
import type { PointFlowConfig } from "../../flow/point_flow.ts";
import { type CoopFlowConfig, parseConfig } from "../config.ts";
import { SQUARE } from "./densities.ts";

/** A recipe: networks of points, and of CoopFlow's usual configuration the chain and the training. */
export interface Toy2dConfig {
  readonly flow: PointFlowConfig;
  readonly energy: PointEnergyConfig;
  /** Long steps carry points from mode to mode, short ones at the end are accepted where the density is sharp. */
  readonly langevin: CoopFlowConfig["langevin"];
  /** `batch`: chains that start from proposals; the flow learns from these alone. */
  readonly training: CoopFlowConfig["training"];
  /** Chains that start anywhere in the square: they find where the energy is wrong although no proposal ever gets there. */
  readonly wide: number;
}

/** Iterations of the default recipe. */
export const ITERATIONS = 4000;

/** The recipe that the figures in the README are of. */
export function toy2dConfig(
  { noise, iterations }: { readonly noise: boolean; readonly iterations: number },
): Toy2dConfig {
  const { langevin, training } = parseConfig({
    langevin: {
      steps: 30,
      stepSize: 0.4,
      schedule: "geometric",
      scheduleEnd: 0.25,
      noise,
      // Sharp densities make energies too steep for steps this long: moves that would not be exact are refused.
      metropolis: noise,
      moveClamp: "off",
      range: [SQUARE.low, SQUARE.high],
    },
    training: {
      batch: 384,
      iterations,
      stopOnNaN: false,
      flow: { lr: 1e-2, clip: 5, warmUp: 50, schedule: "cosine" },
      ebm: { lr: 2e-3, betas: [0.9, 0.99], clip: 5, warmUp: 50, schedule: "cosine" },
      averaging: { flow: 0.998, ebm: 0.998 },
    },
  });
  return {
    flow: { steps: 3, coupling: "mixture", channels: 64, layers: 2, components: 8 },
    energy: { channels: 96, layers: 3, scale: 2 },
    langevin,
    training,
    wide: 256,
  };
}
