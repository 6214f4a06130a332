/** An evaluation in words and as JSON. */
import type { Distances, Evaluation } from "../coopflow/evaluation.ts";
import { distanceTable, manifoldNote } from "../coopflow/evaluation_table.ts";
import { GENERATED } from "../coopflow/metric_names.ts";
import { shownInterval } from "../metrics/bootstrap.ts";
import { textTable } from "./text_table.ts";

/** The evaluation as lines of text: each figure with its 95 % interval and how many images it is of. */
export function evaluationLines(found: Evaluation): string[] {
  const { reference, iteration, distances, bitsPerDim, energies, nearest, reconstruction } = found;
  const lines = [
    `iteration ${iteration}, against ${reference.count} images of ${reference.name}; in brackets: 95 % intervals`,
  ];
  if (bitsPerDim !== undefined) {
    lines.push(`bits/dim of the flow: ${shownInterval(bitsPerDim, 3)} (${reference.count} images)`);
  }
  for (const features of new Set(distances.map((d) => d.features))) {
    lines.push("", ...distanceLines(distances.filter((d) => d.features === features)));
  }
  if (energies !== undefined) lines.push("", ...energyLines(energies));
  if (nearest !== undefined) {
    lines.push(
      "",
      `distance to the nearest training image: revised images ${shownInterval(nearest.distance, 3)}, real images ${
        shownInterval(nearest.heldout, 3)
      }`,
    );
  }
  if (reconstruction !== undefined) {
    const { psnr, count, iterations } = reconstruction;
    lines.push("", `reconstruction: ${shownInterval(psnr, 2)} dB (${count} images, ${iterations} iterations)`);
  }
  return lines;
}

function distanceLines(of: readonly Distances[]): string[] {
  const all = of as [Distances, ...Distances[]];
  const [first] = all;
  const { features, preparation, names, dimension, count, real, kernel } = first;
  const { columns, rows } = distanceTable(all);
  const notes = [
    `${count} generated, ${real} real images; ${preparation}`,
    ...(kernel === undefined ? [] : [`${names.kernel}: subsets of ${kernel.size}`]),
    ...manifoldNote(first),
  ];
  const header = [`${features} (${dimension})`, ...columns];
  return [...textTable(header, rows.map((cells, i) => [all[i]!.generated, ...cells])), notes.join("; ")];
}

function energyLines(energies: NonNullable<Evaluation["energies"]>): string[] {
  const rows = (["real", ...GENERATED] as const).map((kind) => {
    const sorted = energies[kind].toSorted();
    const at = (share: number): string => (sorted[Math.round(share * (sorted.length - 1))] ?? NaN).toFixed(3);
    const mean = sorted.reduce((sum, f) => sum + f, 0) / sorted.length;
    return [kind, mean.toFixed(3), at(0.05), at(0.5), at(0.95)];
  });
  return textTable(["energy f", "mean", "5 %", "median", "95 %"], rows);
}

/** Numbers only: pictures are left out, energies stand as histograms. */
export function jsonOfEvaluation({ nearest, energies, statistics: _, ...rest }: Evaluation): Record<string, unknown> {
  return {
    ...rest,
    ...(nearest === undefined ? {} : { nearest: { distance: nearest.distance, heldout: nearest.heldout } }),
    ...(energies === undefined ? {} : { energies: histograms(energies) }),
  };
}

const BINS = 50;

/** Histograms of the energies over common bins. */
export function histograms(
  energies: NonNullable<Evaluation["energies"]>,
): { readonly edges: number[]; readonly counts: Record<string, number[]> } {
  const kinds = ["real", ...GENERATED] as const;
  const least = Math.min(...kinds.map((kind) => energies[kind].reduce((a, b) => Math.min(a, b), Infinity)));
  const most = Math.max(...kinds.map((kind) => energies[kind].reduce((a, b) => Math.max(a, b), -Infinity)));
  const width = (most - least) / BINS || 1;
  const edges = Array.from({ length: BINS + 1 }, (_, i) => least + i * width);
  const counts = Object.fromEntries(kinds.map((kind) => {
    const bins = new Array<number>(BINS).fill(0);
    for (const f of energies[kind]) {
      const bin = Math.min(BINS - 1, Math.floor((f - least) / width));
      bins[bin] = (bins[bin] ?? 0) + 1;
    }
    return [kind, bins];
  }));
  return { edges, counts };
}
