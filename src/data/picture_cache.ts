/**
 * The decoded pictures of a folder in one file that is made once: the images, then a description in JSON, its length and a mark. The file's name is a
 * hash of all that its content depends on: the pictures' paths and bytes, and what is made of them. It is whole or not there.
 */

import { createHash } from "node:crypto";
import { mkdir, open, readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { CoopFlowError, DataError } from "../errors.ts";
import { type AtomicFile, writeAtomic } from "../io/atomic.ts";
import type { PictureSpec } from "../io/picture.ts";
import { systemReason } from "../io/system_error.ts";
import { type Dataset, fromLevels, type Unusable } from "./dataset.ts";
import { FileDataset } from "./file_dataset.ts";
import type { Watch } from "./in_order.ts";
import { decodePictures } from "./picture_decoding.ts";
import type { PictureFile } from "./picture_files.ts";

/** Pictures to decode. */
export interface PictureJob extends Watch {
  readonly folder: string;
  readonly files: readonly PictureFile[];
  readonly spec: PictureSpec;
  /** Make images without colours if no picture has any. */
  readonly greyIfAll: boolean;
}

/** Decoded pictures. */
export interface DecodedPictures {
  /** Absent if none could be used. */
  readonly dataset: Dataset | undefined;
  readonly unusable: readonly Unusable[];
  readonly close: () => void;
}

/** What the description says. */
interface Description {
  readonly count: number;
  readonly allGrey: boolean;
  readonly unusable: readonly Unusable[];
}

/** Raised when the same pictures are decoded differently. */
const REVISION = 1;
const LEVELS = 256;
const MARK = "CFPICS01";
const END_BYTES = 4 + MARK.length;
const TEMPORARY = /^\.pictures-.*\.tmp$/;
/** Temporary files older than this are those of killed processes. */
const STALE_MS = 24 * 3600 * 1000;

/** Decodes into memory. */
export async function decodeToMemory(job: PictureJob): Promise<DecodedPictures> {
  const images: Uint8Array[] = [];
  const { unusable, allGrey } = await decodeAll(job, ({ pixels }) => void images.push(pixels));
  const { height, width, channels: stored } = job.spec;
  const channels = allGrey && job.greyIfAll ? 1 : stored;
  const size = height * width * channels;
  const data = new Uint8Array(images.length * size);
  images.forEach((pixels, i) => {
    data.set(channels === stored ? pixels : pixels.filter((_, at) => at % stored === 0), i * size);
  });
  const dataset = images.length === 0
    ? undefined
    : fromLevels({ name: job.folder, height, width, channels, levels: LEVELS, data });
  return { dataset, unusable, close: () => {} };
}

/**
 * Opens what an earlier call has decoded into a folder, or decodes into it.
 *
 * @throws {CoopFlowError} naming path, reason and remedy if the cache can't be written; nothing of it stays then
 */
export async function decodeToCache(job: PictureJob, cache: string): Promise<DecodedPictures> {
  const path = join(cache, `pictures-${keyOf(job)}.images`);
  const found = await openCached(job, path);
  if (found !== undefined) return found;
  try {
    await mkdir(cache, { recursive: true });
    await removeStale(cache);
    await writeAtomic(path, (file) => writeImages(job, file));
  } catch (error) {
    if (error instanceof CoopFlowError && !error.message.startsWith("cannot write")) throw error;
    const reason = error instanceof CoopFlowError ? error.message : `cannot write ${cache}: ${systemReason(error)}`;
    throw new CoopFlowError(
      `${reason}; make room, or set COOPFLOW_CACHE to another folder, or to nothing to keep the images in memory`,
      { cause: error },
    );
  }
  const made = await openCached(job, path);
  if (made === undefined) throw new DataError(`${path}: it was changed right after it was written; try again`);
  return made;
}

async function decodeAll(
  job: PictureJob,
  use: Parameters<typeof decodePictures>[4],
): Promise<{ unusable: Unusable[]; allGrey: boolean }> {
  let allGrey = true;
  const unusable = await decodePictures(job.folder, job.files, job.spec, job, (picture) => {
    allGrey &&= picture.isGrey;
    return use(picture);
  });
  return { unusable, allGrey };
}

function keyOf({ files, spec }: PictureJob): string {
  const { height, width, channels, crop = null, background } = spec;
  const hash = createHash("sha256").update(JSON.stringify([REVISION, height, width, channels, crop, background]));
  for (const { path, digest } of files) hash.update(`${path}\0${digest}\0`);
  return hash.digest("hex").slice(0, 32);
}

async function writeImages(job: PictureJob, file: AtomicFile): Promise<void> {
  let count = 0;
  const { unusable, allGrey } = await decodeAll(job, async ({ pixels }) => {
    await file.write(pixels);
    count++;
  });
  const description: Description = { count, allGrey, unusable };
  const json = new TextEncoder().encode(JSON.stringify(description));
  const end = new Uint8Array(END_BYTES);
  new DataView(end.buffer).setUint32(0, json.length, true);
  end.set(new TextEncoder().encode(MARK), 4);
  await file.write(json);
  await file.write(end);
}

/** The content of a cached file; `undefined` if it is not there or not whole. */
async function openCached(job: PictureJob, path: string): Promise<DecodedPictures | undefined> {
  const { height, width, channels: storedChannels } = job.spec;
  const description = await describe(path, height * width * storedChannels);
  if (description === undefined) return undefined;
  const { count, allGrey, unusable } = description;
  if (count === 0) return { dataset: undefined, unusable, close: () => {} };
  const dataset = new FileDataset({
    name: job.folder,
    path,
    count,
    height,
    width,
    channels: allGrey && job.greyIfAll ? 1 : storedChannels,
    storedChannels,
    levels: LEVELS,
    start: 0,
  });
  return { dataset, unusable, close: () => dataset.close() };
}

async function describe(path: string, imageBytes: number): Promise<Description | undefined> {
  const file = await open(path, "r").catch(() => undefined);
  if (file === undefined) return undefined;
  try {
    const { size } = await file.stat();
    const read = async (from: number, to: number): Promise<Uint8Array<ArrayBuffer>> => {
      const bytes = new Uint8Array(to - from);
      await file.read(bytes, 0, bytes.length, from);
      return bytes;
    };
    const end = await read(Math.max(0, size - END_BYTES), size);
    if (new TextDecoder().decode(end.subarray(4)) !== MARK) return undefined;
    const start = size - END_BYTES - new DataView(end.buffer).getUint32(0, true);
    if (start < 0) return undefined;
    const description = JSON.parse(new TextDecoder().decode(await read(start, size - END_BYTES))) as Description;
    return description.count * imageBytes === start ? description : undefined;
  } catch {
    return undefined;
  } finally {
    await file.close();
  }
}

/** Removes what killed processes left behind. */
async function removeStale(cache: string): Promise<void> {
  for (const name of await readdir(cache)) {
    if (!TEMPORARY.test(name)) continue;
    const path = join(cache, name);
    const age = await stat(path).then(({ mtimeMs }) => Date.now() - mtimeMs, () => 0);
    if (age > STALE_MS) await rm(path, { force: true });
  }
}
