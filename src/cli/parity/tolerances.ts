/** How close to the reference is right. One table; the reasons are float32 (1e-7 a term) and Winograd convolution (3e-6 a layer). */
import type { ComputedIn } from "../../runtime/precision.ts";

/** Largest difference: `relative` to the largest magnitude of the tensor compared, or `absolute`; either suffices where both are given. */
export interface Tolerance {
  readonly relative?: number;
  readonly absolute?: number;
}

/**
 * Least relative tolerance of layers and whole networks, their gradients included, in each precision. In TF32 a factor of a product is off by 2⁻¹² at most, in bfloat16 by
 * 2⁻⁹, and a network passes that on through a few dozen products in a row. What amplifies rounding without bound, chains and learning, is compared in float32 only.
 */
export const PRECISION_TOLERANCE: Readonly<Record<ComputedIn, number>> = { float32: 0, tf32: 1e-2, bf16: 1e-1 };

/** The tolerance that a check has in a precision. */
export function toleranceIn(precision: ComputedIn, { relative = 0, ...rest }: Tolerance): Tolerance {
  const least = PRECISION_TOLERANCE[precision];
  return { ...rest, ...(relative > 0 || least > 0 ? { relative: Math.max(relative, least) } : {}) };
}

/** What is compared. */
export type Quantity = keyof typeof TOLERANCES;

/** The table. */
export const TOLERANCES = {
  /** What was read from a file. */
  stored: { absolute: 0 },
  /** Layers, couplings, networks. */
  output: { relative: 3e-5 },
  /** Gradients and Hessian-vector products. */
  gradient: { relative: 2e-4 },
  logDet: { relative: 1e-5, absolute: 1e-3 },
  /** Negative log-likelihoods, mean energies. */
  loss: { relative: 3e-5 },
  /** Inverses of smooth mixtures and of matrices. */
  inverse: { relative: 1e-4 },
  /** Inverses of sharp mixtures are judged by what they are mapped to: x itself is ill-conditioned there. */
  inverseResidual: { relative: 1e-4 },
  /**
   * The flow run backwards from a given z. Ill-conditioned: where mixtures saturate, float32 bisection stops 1e-3 away from float64, and so does
   * another float32 program.
   */
  sampleLogits: { relative: 5e-3 },
  sampleImages: { absolute: 5e-3 },
  chainStart: { relative: 3e-5 },
  chainMiddle: { relative: 3e-4 },
  /** Chaotic: most moves are clamped by then. */
  chainEnd: { relative: 2e-3 },
  reconstruct: { relative: 2e-4 },
  learningImages: { relative: 3e-3 },
  learningNorms: { relative: 2e-3 },
  learningParameters: { absolute: 1e-4 },
  paperZ: { relative: 1e-4 },
  paperLogDet: { relative: 1e-5, absolute: 2e-2 },
  /** Each norm by itself. */
  paperNorm: { relative: 1e-3 },
  paperEnergy: { relative: 5e-5 },
  paperSlope: { relative: 2e-4 },
  paperInverse: { absolute: 1e-2 },
} as const satisfies Record<string, Tolerance>;

/**
 * Gradients of a rescale's `weight_v` are zero in exact arithmetic (w = g·v/‖v‖ of one element), and rounding noise in the files: they may be
 * this large, relative to the case's largest gradient.
 */
export const ZERO_GRADIENT = 1e-5;
/** Gradient norms of the `paper` case that are smaller than this part of the largest count as zero, for the same reason. */
export const ZERO_NORM = 1e-6;
