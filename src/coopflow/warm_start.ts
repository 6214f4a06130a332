/** Beginning to learn from networks that another run has learnt. */
import { ConfigError } from "../errors.ts";
import type { Checkpoint } from "./checkpoint.ts";
import type { CoopFlowConfig } from "./config.ts";
import { EBM_PREFIX, FLOW_PREFIX } from "./programs/program.ts";
import { FRESH } from "./schedule.ts";
import { averageName } from "../optim/adam.ts";
import { elements, modelStates, type StateSpec } from "./states.ts";

/** Networks that a phase of training trains. */
const TRAINED: Readonly<Record<CoopFlowConfig["training"]["phase"], readonly string[]>> = {
  coop: [FLOW_PREFIX, EBM_PREFIX],
  flow: [FLOW_PREFIX],
  ebm: [EBM_PREFIX],
};

/**
 * A checkpoint before the first iteration whose networks are those that the phase of `source` trained, averaged ones where it has them. All else is
 * fresh: the other network, optimizers, counters. Activation norms are initialised from data only if the flow is fresh.
 *
 * @throws {ConfigError} naming the first tensor that the networks of `config` have otherwise
 */
export function warmStart(config: CoopFlowConfig, source: Checkpoint): Checkpoint {
  const prefixes = TRAINED[source.config.training.phase];
  const shapes = new Map(modelStates(source.config).all.map(({ name, shape }) => [name, shape]));
  const valueOf = (spec: StateSpec): Float32Array => {
    const name = spec.averageOf ?? spec.name;
    if (!prefixes.some((prefix) => name.startsWith(prefix))) {
      return spec.zeros ? new Float32Array(elements(spec.shape)) : spec.init(config.seed);
    }
    const found = shapes.get(name);
    const value = source.values.get(averageName(name)) ?? source.values.get(name);
    if (found === undefined || value === undefined || found.join() !== spec.shape.join()) {
      const other = found === undefined ? "none" : `[${found.join(", ")}]`;
      throw new ConfigError(
        name.startsWith(FLOW_PREFIX) ? "flow" : "energy",
        `expected the networks of the run to begin with; ${name} is [${spec.shape.join(", ")}] here and ${other} there`,
      );
    }
    return value;
  };
  const values = new Map(modelStates(config).all.map((spec) => [spec.name, valueOf(spec)]));
  const initialised = prefixes.includes(FLOW_PREFIX) && source.counters.initialised;
  return { config, counters: { ...FRESH, initialised }, values };
}
