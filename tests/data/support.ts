/** What the tests of formats share. */
import { assert, assertRejects } from "@std/assert";
import { type Dataset, imageElements } from "../../src/data/dataset.ts";
import { openDataset } from "../../src/data/open.ts";
import { DataError } from "../../src/errors.ts";
import { withFolder } from "../io/support.ts";

/** The levels of all images. */
export function levelsOf(dataset: Dataset): number[] {
  const image = new Float32Array(imageElements(dataset));
  const out: number[] = [];
  for (let i = 0; i < dataset.count; i++) {
    dataset.read(i, image, 0);
    for (const value of image) out.push(Math.round((value + 1) / 2 * (dataset.levels - 1)));
  }
  return out;
}

/** [count, height, width, channels]. */
export const sizeOf = ({ count, height, width, channels }: Dataset): number[] => [count, height, width, channels];

/** Writes a file and says how opening it ends. */
export async function failure(name: string, bytes: Uint8Array): Promise<string> {
  let message = "";
  await withFolder(async (folder) => {
    await Deno.writeFile(`${folder}/${name}`, bytes);
    const error = await assertRejects(() => openDataset(`${folder}/${name}`), DataError);
    assert(error.message.includes(name) && !error.message.includes("\n"), error.message);
    message = error.message;
  });
  return message;
}
