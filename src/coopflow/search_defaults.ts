/** How searches go unless told otherwise: the command line tells of it without loading any search. */

/** The reference's choices. */
export const RECONSTRUCTION = { iterations: 200, rate: 0.05, decay: 1 } as const;
/** See {@linkcode RECONSTRUCTION}; interpolation searches so too. */
export const INPAINTING = { iterations: 201, rate: 0.03, decay: 0.99 } as const;
