/** A picture of what was learnt. */
import type { Pixels } from "../../io/png.ts";
import { type GridPanel, imageGrid } from "../../metrics/grid.ts";
import { BINS, CELLS, histogram } from "./evaluate.ts";
import type { Toy2dResult } from "./toy2d.ts";

/** Bins per side of the panels of points: finer than what is compared, as the eye averages. */
const POINT_BINS = 4 * BINS;
/** From nothing to the truth's highest density: dark blue, green, yellow. */
const COLOURS = [[68, 1, 84], [65, 68, 135], [42, 120, 142], [34, 168, 132], [122, 209, 81], [253, 231, 37]] as const;
/** Shades: few enough for small files. */
const SHADES = 48;

/** Colours of masses per cell, as an image in [−1, 1]; what is `most` or more is brightest, and brightness grows with the root. */
function panel(masses: ArrayLike<number>, most: number): GridPanel {
  const cells = Math.sqrt(masses.length);
  const per = CELLS / cells;
  const images = new Float32Array(3 * CELLS * CELLS);
  for (let i = 0; i < CELLS * CELLS; i++) {
    const [row, column] = [Math.floor(i / CELLS / per), Math.floor((i % CELLS) / per)];
    const level = Math.sqrt(Math.min(1, masses[row * cells + column]! / most));
    const at = Math.round(level * SHADES) / SHADES * (COLOURS.length - 1);
    const [below, above] = [COLOURS[Math.floor(at)]!, COLOURS[Math.ceil(at)]!];
    for (let c = 0; c < 3; c++) {
      images[3 * i + c] = (below[c]! + (at - Math.floor(at)) * (above[c]! - below[c]!)) / 127.5 - 1;
    }
  }
  return { images, count: 1, height: CELLS, width: CELLS, channels: 3 };
}

/** From left to right: the truth, points of it, the flow's density, the energy's (normalised on the grid), revised points. */
export function toy2dPicture({ grids, points }: Toy2dResult): Pixels {
  const most = grids.truth.reduce((a, b) => Math.max(a, b), 0);
  const ofGrid = (masses: Float64Array): GridPanel => panel(masses, most);
  const ofPoints = (all: Float32Array): GridPanel => {
    const total = all.length / 2;
    const counts = histogram(all, POINT_BINS).map((count) => count / total);
    return panel(counts, most * (CELLS / POINT_BINS) ** 2);
  };
  return imageGrid(
    [ofGrid(grids.truth), ofPoints(points.truth), ofGrid(grids.flow), ofGrid(grids.energy), ofPoints(points.revised)],
    { scale: 1, panelGap: 8 },
  );
}
