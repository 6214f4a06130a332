/** Groups of figures that an evaluation consists of. */
export const FIGURES = ["likelihood", "distances", "manifold", "energies", "nearest", "reconstruction"] as const;

/** @see {@linkcode FIGURES} */
export type Figure = typeof FIGURES[number];
