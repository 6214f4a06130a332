/** Folders of pictures; CelebA's aligned faces are cut as customary. */

import { basename } from "node:path";
import { DataError, UsageError } from "../errors.ts";
import { cacheFolder } from "../io/cache_folder.ts";
import { RESIZING } from "../io/picture.ts";
import type { OpenedSplit } from "./dataset.ts";
import type { Watch } from "./in_order.ts";
import { decodeToCache, decodeToMemory } from "./picture_cache.ts";
import type { PictureFiles } from "./picture_files.ts";

/** How pictures are read. */
export interface PictureOptions extends Watch {
  /** Rows of an image. Default: the width, else 32. */
  readonly height?: number | undefined;
  /** Columns of an image. Default: the height, else 32. */
  readonly width?: number | undefined;
  /** Default: 3, or 1 if no picture has colours. */
  readonly channels?: number | undefined;
  /**
   * Side of the square that is cut out of the middle of each picture before it is made smaller. Default: 140 for CelebA's aligned faces (108 is also
   * customary), for others the largest part of the images' shape.
   */
  readonly crop?: number | undefined;
  /** What shows through transparent pixels: `#rrggbb`. Default: white. */
  readonly background?: string | undefined;
  /** Folder that decoded pictures are kept in; `null`: in memory. Default: `COOPFLOW_CACHE`, else the user's cache folder. */
  readonly cache?: string | null | undefined;
}

const DEFAULT_SIZE = 32;
const WHITE = "#ffffff";
/** CelebA's aligned faces: names of six digits, 178×218 pixels. */
const CELEBA_NAME = /(?:^|\/)\d{6}\.(?:jpg|png)$/;
const CELEBA_FOLDER = /^(?:img_align_celeba|celeba)/i;
const CELEBA_CROP = 140;

/** Decodes the pictures below a folder. */
export async function openPictures(
  folder: string,
  found: PictureFiles,
  options: PictureOptions,
): Promise<OpenedSplit & { format: string }> {
  const { cache = cacheFolder(), channels } = options;
  const isCelebA = CELEBA_FOLDER.test(basename(folder)) && found.pictures.every(({ path }) => CELEBA_NAME.test(path));
  const crop = options.crop ?? (isCelebA ? CELEBA_CROP : undefined);
  const height = options.height ?? options.width ?? DEFAULT_SIZE;
  const width = options.width ?? options.height ?? DEFAULT_SIZE;
  const spec = { height, width, channels: channelsOf(channels), crop, background: backgroundOf(options.background) };
  const job = { ...options, folder, files: found.pictures, spec, greyIfAll: channels === undefined };
  const { dataset, unusable: broken, close } = cache === null
    ? await decodeToMemory(job)
    : await decodeToCache(job, cache);
  const unusable = [...found.unusable, ...broken].sort((a, b) => a.path < b.path ? -1 : 1);
  if (dataset === undefined) {
    const [first] = unusable;
    throw new DataError(
      `${folder}: expected pictures, found none that can be used among ${unusable.length} files ` +
        `(${first?.path}: ${first?.reason})`,
    );
  }
  const cut = crop === undefined ? "the largest centre part" : `a centre square of ${crop}`;
  const sized = `${dataset.height}×${dataset.width}×${dataset.channels}`;
  return {
    format: isCelebA ? "CelebA, aligned" : "pictures",
    train: dataset,
    heldout: undefined,
    unusable,
    close,
    description: `${dataset.count} images of ${sized} (${cut} of each picture, made smaller: ${RESIZING})`,
  };
}

function channelsOf(channels: number | undefined): 1 | 3 {
  if (channels === undefined || channels === 3) return 3;
  if (channels === 1) return 1;
  throw new UsageError(`expected pictures of 1 or 3 channels, got ${channels}`);
}

function backgroundOf(colour: string | undefined): string {
  const text = colour === undefined || colour === "white" ? WHITE : colour === "black" ? "#000000" : colour;
  if (/^#[0-9a-f]{6}$/i.test(text)) return text.toLowerCase();
  throw new UsageError(`expected a background of white, black or #rrggbb, got ${JSON.stringify(colour)}`);
}
