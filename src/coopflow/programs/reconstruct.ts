/** One step of the search for where the Langevin flow has to start to end at given images (CoopFlow §5.2). */
import { grad } from "../../autodiff/grad.ts";
import { langevin } from "../../energy/langevin.ts";
import type { EnergyConfig } from "../../energy/config.ts";
import { createEnergy } from "../../energy/network.ts";
import { feed, map, scalar, sum } from "../../graph/build.ts";
import { E, type Expr } from "../../graph/expr.ts";
import { Graph } from "../../graph/graph.ts";
import { perImage } from "../../flow/logit.ts";
import { AVERAGE_PREFIX, Params } from "../../nn/params.ts";
import { EBM_PREFIX, type ModelProgram, scalarFeed, stepSizeFeed } from "./program.ts";

/** What is compiled into the program. */
export interface ReconstructConfig {
  readonly energy: EnergyConfig;
  readonly batch: number;
  /** T. */
  readonly steps: number;
  /** The feed `step_size` has one value for each step: [T]. */
  readonly scheduled?: boolean;
  /** Take the energy network from its moving averages. */
  readonly averaged?: boolean;
  /** Whether some pixels do not count: feed `mask`. */
  readonly masked?: boolean;
  /** Where starts are clamped to after each step. Default: the reference's [−1, 1]. */
  readonly range?: readonly [low: number, high: number];
}

const RANGE = [-1, 1] as const;

/**
 * Gradient descent on x₀ for Σ m·(x − F(x₀))², F being T Langevin steps without noise and clamps, differentiated through: the adjoint of a step is
 * v ← v + (δ²/2)·∇²f(x_t)·v. The images of the T steps are kept, nothing else of them: memory hardly depends on T.
 *
 * Feeds: `target`, `start` (, `mask`: 1 where a value counts, else 0) [N,H,W,C], `step_size` δ (a scalar, or [T]), scalar `rate`.
 * Fetches: `images` F(x₀) and `next` = clamp(x₀ − rate·gradient) [N,H,W,C], `error` [N]: the sum of each image, at x₀.
 */
export function reconstruct(config: ReconstructConfig): ModelProgram {
  const g = new Graph();
  const { energy: { height, width, channelsIn }, batch, steps, range: [low, high] = RANGE } = config;
  const prefix = `${config.averaged ? AVERAGE_PREFIX : ""}${EBM_PREFIX}`;
  const energy = createEnergy(new Params(g, prefix), config.energy);
  const shape = [batch, height, width, channelsIn];
  const [target, start] = [feed(g, "target", shape), feed(g, "start", shape)];
  const mask = config.masked ? [feed(g, "mask", shape)] : [];
  // The trajectory is what the backward pass starts from; asking for it saves a second run forwards.
  const run = langevin(g, (x) => energy.forward(x), start, {
    steps,
    stepSize: stepSizeFeed(g, config),
    trajectory: true,
  });
  const squares = map([target, run.x, ...mask], (t, x, m?: Expr) => {
    const square = E.square(E.sub(t!, x!));
    return m ? E.mul(m, square) : square;
  });
  const [slope] = grad(scalar(sum(squares)), [start]);
  const next = map(
    [start, slope!, scalarFeed(g, "rate")],
    (x, s, rate) => E.clamp(E.sub(x, E.mul(rate, s)), low, high),
  );
  g.fetch("images", run.x);
  g.fetch("error", perImage(squares));
  g.fetch("next", next);
  return { graph: g, specs: energy.params.specs };
}
