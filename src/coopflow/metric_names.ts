/** Groups of metrics that an evaluation consists of. */
export const METRICS = ["likelihood", "distances", "manifold", "energies", "nearest", "reconstruction"] as const;

/** @see {@linkcode METRICS} */
export type Metric = typeof METRICS[number];

/** What a run can measure of itself on held-out images as it learns; the smaller, the better. */
export const MEASURED = ["frechet", "digitFid", "fid", "bitsPerDim"] as const;
/** @see {@linkcode MEASURED} */
export type Measured = typeof MEASURED[number];

/** What is compared with real images. */
export const GENERATED = ["noise", "proposals", "revised"] as const;
/** @see {@linkcode GENERATED} */
export type Generated = typeof GENERATED[number];
