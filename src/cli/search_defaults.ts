/** What the commands that search do unless told otherwise. */
import { INPAINTING, RECONSTRUCTION } from "../coopflow/search_defaults.ts";

/** Of one of them. */
export interface SearchDefaults {
  readonly count: number;
  readonly out: string;
  readonly iterations: number;
  readonly rate: number;
  readonly decay: number;
}

export const RECONSTRUCT: SearchDefaults = { ...RECONSTRUCTION, count: 16, out: "reconstructions.png" };
export const INPAINT: SearchDefaults = { ...INPAINTING, count: 4, out: "inpainted.png" };
export const INTERPOLATE: SearchDefaults = { ...INPAINTING, count: 8, out: "interpolations.png" };
