/** The order in which the reference numbers the parameters of its optimizers. */
import type { CoopFlowConfig } from "./config.ts";
import { EBM_PREFIX, FLOW_PREFIX } from "./programs/program.ts";
import { modelStates } from "./states.ts";

/** Names of trained parameters by their number. */
export interface ReferenceOrder {
  /** Weight-norm gains in module order (its first group, which has the weight decay), then the others. */
  readonly flow: readonly string[];
  /** How many of the flow's are gains. */
  readonly gains: number;
  readonly ebm: readonly string[];
}

/** States are declared in the reference's module order, so only the flow's two groups have to be told apart. */
export function referenceOrder(config: CoopFlowConfig): ReferenceOrder {
  const { trained } = modelStates(config);
  const flow = trained.filter((name) => name.startsWith(FLOW_PREFIX));
  const isGain = (name: string): boolean => name.endsWith(".weight_g");
  const gains = flow.filter(isGain);
  return {
    flow: [...gains, ...flow.filter((name) => !isGain(name))],
    gains: gains.length,
    ebm: trained.filter((name) => name.startsWith(EBM_PREFIX)),
  };
}
