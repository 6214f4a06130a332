/** Distances of one kind of features as a table's cells, for texts and pages. */
import { shownInterval } from "../metrics/bootstrap.ts";
import type { Distances } from "./evaluation.ts";

/** Columns beside the one that says which images, and a row of cells for each kind of images; figures that were not asked for are left out. */
export interface DistanceTable {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** @param of distances by the same features, at least one */
export function distanceTable(of: readonly [Distances, ...Distances[]]): DistanceTable {
  const [{ names, kernel, manifold }] = of;
  return {
    columns: [
      ...(kernel === undefined ? [] : [names.frechet, names.kernel]),
      ...(manifold === undefined ? [] : ["precision", "recall", "density", "coverage"]),
    ],
    rows: of.map(({ frechet, kernel, manifold }) => [
      ...(frechet === undefined ? [] : [shownInterval(frechet, 3)]),
      ...(kernel === undefined ? [] : [shownInterval(kernel, 4)]),
      ...(manifold === undefined
        ? []
        : [manifold.precision, manifold.recall, manifold.density, manifold.coverage].map((v) => shownInterval(v, 2))),
    ]),
  };
}

/** What the figures from precision to coverage are of. */
export function manifoldNote({ manifold }: Distances): string[] {
  if (manifold === undefined) return [];
  return [`precision to coverage: k = ${manifold.k}, ${manifold.generated} and ${manifold.real} images`];
}
