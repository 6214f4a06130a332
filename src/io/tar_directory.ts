/** The directory of an uncompressed tar archive, as PyTorch wrote them before 2017. */
import type { ByteSource } from "./byte_source.ts";
import type { ArchiveEntry } from "./zip_directory.ts";

const BLOCK = 512;
/** Files of an archive of PyTorch: 4. */
const MAX_FILES = 64;
const MAGIC = "ustar";
const MAGIC_AT = 257;

/** Whether a file that begins with `first` (512 bytes) is a tar archive. */
export function isTar(first: Uint8Array): boolean {
  return text(first, MAGIC_AT, MAGIC.length) === MAGIC;
}

/**
 * Reads the directory: files by name, without a leading `./`.
 *
 * @throws as the source says if the archive is cut short or damaged
 */
export async function readTarDirectory(source: ByteSource): Promise<ReadonlyMap<string, ArchiveEntry>> {
  const entries = new Map<string, ArchiveEntry>();
  for (let at = 0; at + BLOCK <= source.size;) {
    const header = await source.read(at, at + BLOCK);
    if (header.every((byte) => byte === 0)) break;
    const size = Number.parseInt(text(header, 124, 12).trim(), 8);
    const begin = at + BLOCK;
    if (!isTar(header) || !(size >= 0) || entries.size >= MAX_FILES) {
      throw new source.fail(`${source.path}: damaged archive at byte ${at}`);
    }
    if (begin + size > source.size) {
      throw new source.fail(`${source.path}: cut short within the archive's file at byte ${at}`);
    }
    const type = header[156];
    const name = text(header, 0, 100).replace(/^\.\//, "");
    if (type === 0 || type === 0x30) entries.set(name, { name, size, locate: () => Promise.resolve(begin) });
    at = begin + Math.ceil(size / BLOCK) * BLOCK;
  }
  return entries;
}

function text(bytes: Uint8Array, at: number, length: number): string {
  return new TextDecoder().decode(bytes.subarray(at, at + length)).replace(/\0.*$/s, "");
}
