/** The Langevin flow: short-run MCMC on the energy-based model, started from given images (CoopFlow §3.2). */
import { grad } from "../autodiff/grad.ts";
import { fill, map, mul, normal, repeat, reshape, scalar, sum } from "../graph/build.ts";
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
  /** Share of the elements that the range stopped. */
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
}

/** Σ over each image of what an expression gives, [N]. */
function sums(operands: readonly Value[], of: (...operands: Expr[]) => Expr): Value {
  const [n, ...rest] = operands[0]!.shape;
  return reshape(sum(map(operands, of), rest.map((_, i) => i + 1)), [n!]);
}

/** {@linkcode StepStatistics} of one step, [N] each, in the order of their names there. */
function statistics(
  { x, slope, half, noise, origin }: {
    readonly x: Value;
    readonly slope: Value;
    readonly half: Value;
    /** δ and ε. */
    readonly noise: readonly Value[];
    readonly origin: Value;
  },
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

/** δ and δ²/2 of each step: values in front of the loop, or [T] to be scanned. */
function deltasOf(g: Graph, { steps, stepSize }: LangevinOptions): { delta: Value; half: Value; scanned: boolean } {
  const delta = typeof stepSize === "number" ? fill(g, stepSize) : stepSize;
  const scanned = delta.shape.length > 0;
  if (scanned && !sameShape(delta.shape, [steps])) {
    throw new UsageError(`langevin: expected step sizes of shape ${steps}, found ${formatShape(delta.shape)}`);
  }
  return { delta, half: mul(mul(delta, delta), 0.5), scanned };
}

/**
 * T steps of x ← clamp(x + clamp((δ²/2)·∇f(x)) + δ·ε).
 * Everything that does not change from step to step (weight transforms, δ²/2) moves in front of the loop.
 *
 * @param energy f: [N,H,W,C] → [N]; its states must already be declared in `g`
 * @throws {UsageError} if noise is wanted without a key, or noise or step sizes are given in another shape
 */
export function langevin(g: Graph, energy: (x: Value) => Value, x0: Value, options: LangevinOptions): LangevinResult {
  const { steps, moveClamp, range } = options;
  const sizes = deltasOf(g, options);
  const { given, draw } = noiseOf(x0, options);
  const noisy = given !== undefined || draw !== undefined;
  const perStep = [...(given ? [given] : []), ...(sizes.scanned ? [sizes.half, ...(noisy ? [sizes.delta] : [])] : [])];
  const loop = repeat(g, steps, [x0], ([x], slices) => {
    const scanned = [...slices];
    const eps = given ? scanned.shift() : draw?.();
    const [half, delta] = sizes.scanned ? scanned as [Value, Value] : [sizes.half, sizes.delta];
    const f = g.scoped("langevin", () => energy(x!));
    const [slope] = grad(scalar(sum(f)), [x!]);
    const noise = eps ? [delta, eps] : [];
    const operands = [x!, slope!, half, ...noise];
    const next = map(operands, (a, s, h, d?: Expr, e?: Expr) => {
      const move = E.mul(h!, s!);
      let y = E.add(a!, moveClamp === undefined ? move : E.clamp(move, -moveClamp, moveClamp));
      if (d && e) y = E.add(y, E.mul(d, e));
      return range ? E.clamp(y, range[0], range[1]) : y;
    });
    const stacked = [
      ...(options.energies ? [f] : []),
      ...(options.trajectory ? [x!] : []),
      ...(options.watch ? statistics({ x: x!, slope: slope!, half, noise, origin: options.watch }, options) : []),
    ];
    return { carried: [next], stacked };
  }, perStep.length > 0 ? { scanned: perStep } : {});
  const stacked = [...loop.stacked];
  const energies = options.energies ? { energies: stacked.shift()! } : {};
  const trajectory = options.trajectory ? { trajectory: stacked.shift()! } : {};
  const [slopeNorm, clampedMoves, clampedPixels, distance] = stacked;
  const watched = options.watch
    ? {
      steps: { slopeNorm: slopeNorm!, clampedMoves: clampedMoves!, clampedPixels: clampedPixels!, distance: distance! },
    }
    : {};
  return { x: loop.carried[0]!, ...energies, ...trajectory, ...watched };
}
