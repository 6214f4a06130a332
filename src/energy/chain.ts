/** What Langevin chains with and without Metropolis adjustment share: options, results, what each step is made of. */
import { fill, map, mul, normal, type Repeated, reshape, sum } from "../graph/build.ts";
import { E, type Expr } from "../graph/expr.ts";
import { UsageError } from "../errors.ts";
import type { Graph, Value } from "../graph/graph.ts";
import { formatShape, numel, sameShape } from "../graph/shape.ts";

/** How a chain moves. */
export interface LangevinOptions {
  /** T, fixed in the program. */
  readonly steps: number;
  /** δ: a number, a scalar to be fed, or [T], one for each step. */
  readonly stepSize: Value | number;
  /** Whether δ·ε is added, ε ~ N(0, I): drawn (needs `key`), or given as [T,N,H,W,C]. Default: no noise, as in the reference. */
  readonly noise?: boolean | Value;
  /**
   * Whether moves are accepted or rejected such that exp f is what the chain samples from, exactly: by uniforms that are drawn (needs `key`), or given as
   * [T,N]. Needs noise; reflects at the ends of the range instead of clamping. Default: all moves are made.
   */
  readonly metropolis?: boolean | Value;
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
  /** Also deliver what each step did, with distances from these images. */
  readonly watch?: Value;
}

/** What each step did to each image, [T,N] each. */
export interface StepStatistics {
  /** ‖∇f‖ where the step started. */
  readonly slopeNorm: Value;
  /** Share of the elements whose move was clamped. */
  readonly clampedMoves: Value;
  /** Share of the elements that the range stopped, or reflected. */
  readonly clampedPixels: Value;
  /** Root mean square of the difference between where the step started and the images of `watch`. */
  readonly distance: Value;
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
  /** If asked for. */
  readonly steps?: StepStatistics;
  /** 1 where the step's move was accepted, else 0, [T,N]; with Metropolis adjustment only. */
  readonly accepted?: Value;
}

/** Σ over each image of what an expression gives, [N]. */
export function sums(operands: readonly Value[], of: (...operands: Expr[]) => Expr): Value {
  const [n, ...rest] = operands[0]!.shape;
  return reshape(sum(map(operands, of), rest.map((_, i) => i + 1)), [n!]);
}

/** One step of a chain. */
export interface Step {
  /** Where it started. */
  readonly x: Value;
  /** f and ∇f there. */
  readonly f: Value;
  readonly slope: Value;
  /** δ²/2. */
  readonly half: Value;
  /** δ and ε, or nothing. */
  readonly noise: readonly Value[];
  /** [N], with Metropolis adjustment. */
  readonly accepted?: Value;
}

/** {@linkcode StepStatistics} of one step, [N] each, in the order of their names there. */
function statistics(
  { x, slope, half, noise }: Step,
  origin: Value,
  { moveClamp = Infinity, range: [low, high] = [-Infinity, Infinity] }: LangevinOptions,
): Value[] {
  const elements = numel(x.shape) / x.shape[0]!;
  const root = (v: Value, scale: number): Value => map([v], (a) => E.sqrt(E.mul(a, scale)));
  const outside = (v: Expr, least: number, most: number): Expr => E.max(E.lt(v, least), E.lt(most, v));
  const share = (v: Value): Value => mul(v, 1 / elements);
  return [
    root(sums([slope], E.square), 1),
    share(sums([slope, half], (s, h) => outside(E.mul(h, s), -moveClamp, moveClamp))),
    share(sums([x, slope, half, ...noise], (a, s, h, d?: Expr, e?: Expr) => {
      const y = E.add(a, E.clamp(E.mul(h, s), -moveClamp, moveClamp));
      return outside(d && e ? E.add(y, E.mul(d, e)) : y, low, high);
    })),
    root(sums([x, origin], (a, o) => E.square(E.sub(a, o))), 1 / elements),
  ];
}

/** The noise ε of each step: given [T,N,H,W,C], drawn by what is returned, or none. */
export function noiseOf(x0: Value, options: LangevinOptions): { given?: Value; draw?: () => Value } {
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

/** δ and δ²/2 of each step: values in front of the loop, or [T] to be scanned. */
export function deltasOf(
  g: Graph,
  { steps, stepSize }: LangevinOptions,
): { delta: Value; half: Value; scanned: boolean } {
  const delta = typeof stepSize === "number" ? fill(g, stepSize) : stepSize;
  const scanned = delta.shape.length > 0;
  if (scanned && !sameShape(delta.shape, [steps])) {
    throw new UsageError(`langevin: expected step sizes of shape ${steps}, found ${formatShape(delta.shape)}`);
  }
  return { delta, half: mul(mul(delta, delta), 0.5), scanned };
}

/** What the body of a chain's loop stacks, for {@linkcode resultOf}. */
export function stackedOf(step: Step, options: LangevinOptions): Value[] {
  return [
    ...(options.energies ? [step.f] : []),
    ...(options.trajectory ? [step.x] : []),
    ...(step.accepted ? [step.accepted] : []),
    ...(options.watch ? statistics(step, options.watch, options) : []),
  ];
}

/** The results of a chain's loop. */
export function resultOf({ carried, stacked }: Repeated, options: LangevinOptions): LangevinResult {
  const rest = [...stacked];
  const { energies, trajectory, metropolis = false, watch } = options;
  const ofSteps = {
    ...(energies ? { energies: rest.shift()! } : {}),
    ...(trajectory ? { trajectory: rest.shift()! } : {}),
    ...(metropolis === false ? {} : { accepted: rest.shift()! }),
  };
  const [slopeNorm, clampedMoves, clampedPixels, distance] = rest;
  const watched = watch && slopeNorm && clampedMoves && clampedPixels && distance
    ? { steps: { slopeNorm, clampedMoves, clampedPixels, distance } }
    : {};
  return { x: carried[0]!, ...ofSteps, ...watched };
}
