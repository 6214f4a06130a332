/** The Langevin flow: short-run MCMC on the energy-based model, started from given images (CoopFlow §3.2). */
import { grad } from "../autodiff/grad.ts";
import { fill, map, mul, normal, repeat, scalar, sum } from "../graph/build.ts";
import { E, type Expr } from "../graph/expr.ts";
import { UsageError } from "../errors.ts";
import type { Graph, Value } from "../graph/graph.ts";
import { formatShape, sameShape } from "../graph/shape.ts";

/** How a chain moves. */
export interface LangevinOptions {
  /** T, fixed in the program. */
  readonly steps: number;
  /** δ: a number, or a scalar to be fed. */
  readonly stepSize: Value | number;
  /** Whether δ·ε is added, ε ~ N(0, I): drawn (needs `key`), or given as [T,N,H,W,C]. Default: no noise, as in the reference. */
  readonly noise?: boolean | Value;
  /** Largest move (δ²/2)·∇f per element and step; the reference has 0.1. Absent: no clamp. */
  readonly moveClamp?: number;
  /** Where x is clamped to after each step; the reference has [−1, 1]. Absent: no clamp. */
  readonly range?: readonly [low: number, high: number];
  /** u32[4] = (seed, iteration, first sample, 0). */
  readonly key?: Value;
  /** Name of the noise's draw. */
  readonly stream?: string;
  /** Also deliver f of where each step started from. The chain itself needs only ∇f, which costs less. */
  readonly energies?: boolean;
  /** Also deliver where each step started from. */
  readonly trajectory?: boolean;
}

/** The reference's chain, apart from the step size. */
export const LANGEVIN_DEFAULTS = { steps: 30, noise: false, moveClamp: 0.1, range: [-1, 1] } as const;

/** A chain's results. */
export interface LangevinResult {
  /** Images after the last step. */
  readonly x: Value;
  /** f [T,N] of the images that each step started from (row 0 belongs to `x0`), if asked for. */
  readonly energies?: Value;
  /** Images [T,N,H,W,C] that each step started from, if asked for. */
  readonly trajectory?: Value;
}

function noiseOf(x0: Value, options: LangevinOptions): { given?: Value; draw?: () => Value } {
  const { noise = false, key, stream = "langevin/noise", steps } = options;
  if (noise === false) return {};
  if (noise !== true) {
    const want = [steps, ...x0.shape];
    if (!sameShape(noise.shape, want)) {
      throw new UsageError(`langevin: expected noise of shape ${formatShape(want)}, found ${formatShape(noise.shape)}`);
    }
    return { given: noise };
  }
  if (!key) {
    throw new UsageError(
      "langevin: expected a key to draw the noise from, found none; give one, or turn the noise off",
    );
  }
  return { draw: () => normal(key, stream, x0.shape) };
}

/**
 * T steps of x ← clamp(x + clamp((δ²/2)·∇f(x)) + δ·ε).
 * Everything that does not change from step to step (weight transforms, δ²/2) moves in front of the loop.
 *
 * @param energy f: [N,H,W,C] → [N]; its states must already be declared in `g`
 * @throws {UsageError} if noise is wanted without a key, or given in another shape
 */
export function langevin(g: Graph, energy: (x: Value) => Value, x0: Value, options: LangevinOptions): LangevinResult {
  const { steps, moveClamp, range } = options;
  const delta = typeof options.stepSize === "number" ? fill(g, options.stepSize) : options.stepSize;
  const half = mul(mul(delta, delta), 0.5);
  const { given, draw } = noiseOf(x0, options);
  const loop = repeat(g, steps, [x0], ([x], scanned) => {
    const f = g.scoped("langevin", () => energy(x!));
    const [slope] = grad(scalar(sum(f)), [x!]);
    const eps = scanned[0] ?? draw?.();
    const operands = [x!, slope!, half, ...(eps ? [delta, eps] : [])];
    const next = map(operands, (a, s, h, d?: Expr, e?: Expr) => {
      const move = E.mul(h!, s!);
      let y = E.add(a!, moveClamp === undefined ? move : E.clamp(move, -moveClamp, moveClamp));
      if (d && e) y = E.add(y, E.mul(d, e));
      return range ? E.clamp(y, range[0], range[1]) : y;
    });
    return { carried: [next], stacked: [...(options.energies ? [f] : []), ...(options.trajectory ? [x!] : [])] };
  }, given ? { scanned: [given] } : {});
  const stacked = [...loop.stacked];
  const energies = options.energies ? { energies: stacked.shift()! } : {};
  const trajectory = options.trajectory ? { trajectory: stacked.shift()! } : {};
  return { x: loop.carried[0]!, ...energies, ...trajectory };
}
