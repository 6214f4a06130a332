/** An evaluation as a page of one file. */
import { encodePng } from "../io/png.ts";
import { shownInterval } from "../metrics/bootstrap.ts";
import { imageGrid } from "../metrics/grid.ts";
import { histogram } from "../report/histogram.ts";
import { formatNumber, type Html } from "../report/html.ts";
import { imageFigure } from "../report/image.ts";
import { columns, page, paragraph, section } from "../report/page.ts";
import { table, type Tile, tiles } from "../report/table.ts";
import type { Distances, Evaluation } from "./evaluation.ts";
import { distanceTable, manifoldNote } from "./evaluation_table.ts";
import { GENERATED } from "./metric_names.ts";

/** What each kind of images is called. */
const KINDS = {
  real: "real images",
  noise: "uniform noise",
  proposals: "proposals",
  revised: "revised images",
} as const;

/**
 * The text of an HTML file: figures with their 95 % intervals and counts, energies as histograms, revised images beside their nearest training images.
 *
 * @param title such as the run's name
 */
export function evaluationPage(title: string, found: Evaluation): string {
  const { iteration, reference, seed, distances, energies, nearest } = found;
  const features = [...new Set(distances.map((d) => d.features))];
  return page({
    title: `${title}: evaluation`,
    intro: `iteration ${formatNumber(iteration)} · against ${
      formatNumber(reference.count)
    } images of ${reference.name} · seed ${seed}`,
    content: [
      tiles(tilesOf(found)),
      features.map((name) => distanceSection(distances.filter((d) => d.features === name))),
      energies === undefined ? undefined : section(
        "Energies",
        columns(histogram({
          title: "f of images",
          label: "f(x), larger = more likely",
          series: (["real", ...GENERATED] as const).map((kind) => ({ name: KINDS[kind], values: energies[kind] })),
        })),
      ),
      nearest === undefined ? undefined : section(
        "Copies",
        paragraph(
          `Distance of images to their nearest training image: revised ones ${
            shownInterval(nearest.distance, 3)
          }, real ones ${
            shownInterval(nearest.heldout, 3)
          }. Images that were copied would be much closer than real ones are.`,
        ),
        imageFigure({
          png: encodePng(imageGrid([
            { images: nearest.images, count: nearest.count, ...nearest.size },
            { images: nearest.neighbours, count: nearest.count, ...nearest.size },
          ])),
          alt: "revised images and their nearest training images",
          caption: "revised images on the left, the training images nearest to them on the right",
        }),
      ),
    ],
  });
}

function tilesOf({ bitsPerDim, distances, reconstruction, reference }: Evaluation): Tile[] {
  const best = distances.findLast(({ generated, frechet }) => generated === "revised" && frechet !== undefined);
  return [
    ...(bitsPerDim === undefined ? [] : [{
      label: "bits/dim of the flow",
      value: bitsPerDim.value.toFixed(3),
      note: `${formatNumber(reference.count)} real images`,
    }]),
    ...(best?.frechet === undefined ? [] : [{
      label: `${best.names.frechet} of revised images`,
      value: best.frechet.value.toFixed(3),
      note: `${formatNumber(best.count)} images, ${best.features}`,
    }]),
    ...(reconstruction === undefined ? [] : [{
      label: "reconstruction",
      value: `${reconstruction.psnr.value.toFixed(1)} dB`,
      note: `${reconstruction.count} images`,
    }]),
  ];
}

function distanceSection(of: readonly Distances[]): Html {
  const all = of as [Distances, ...Distances[]];
  const [first] = all;
  const { features, names, preparation, dimension, count, real, kernel } = first;
  const { columns, rows } = distanceTable(all);
  const notes = [
    `${dimension} features of ${formatNumber(count)} generated and ${
      formatNumber(real)
    } real images; ${preparation}; in brackets: 95\u00a0% intervals`,
    ...(kernel === undefined ? [] : [`${names.kernel}: mean over subsets of ${formatNumber(kernel.size)}`]),
    ...manifoldNote(first),
  ];
  const named = rows.map((cells, i) => [KINDS[all[i]!.generated], ...cells]);
  // Beside the table and not its caption: on a phone a caption would scroll away with it.
  return section(
    `Distances by ${features}`,
    paragraph(`${notes.join("; ")}.`),
    table({ columns: ["", ...columns], rows: named }),
  );
}
