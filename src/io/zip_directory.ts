/**
 * The directory of a zip archive whose files are stored as they are, as PyTorch writes them: where each lies, so that it can be read alone. An
 * archive may come from anywhere: ranges are checked against the file and each other before anything is read.
 */
import type { ByteSource } from "./byte_source.ts";

/** A file of an archive. */
export interface ArchiveEntry {
  readonly name: string;
  readonly size: number;
  /** Finds the position of its first byte. */
  readonly locate: () => Promise<number>;
}

const END_SIGNATURE = 0x06054b50;
const END_BYTES = 22;
const MAX_COMMENT = 0xffff;
const LOCATOR_SIGNATURE = 0x07064b50;
const LOCATOR_BYTES = 20;
const END64_SIGNATURE = 0x06064b50;
const END64_BYTES = 56;
const ENTRY_SIGNATURE = 0x02014b50;
const ENTRY_BYTES = 46;
const LOCAL_SIGNATURE = 0x04034b50;
const LOCAL_BYTES = 30;
/** Stands for a number that did not fit and is in an extra field. */
const ELSEWHERE = 0xffffffff;
/** Bytes of a directory: 100,000 tensors with names of 100 characters. */
const MAX_DIRECTORY = 16 * 2 ** 20;

interface Directory {
  readonly begin: number;
  readonly size: number;
}

/**
 * Reads the directory.
 *
 * @throws as the source says if the archive is cut short, compressed, or has files that overlap
 */
export async function readZipDirectory(source: ByteSource): Promise<ReadonlyMap<string, ArchiveEntry>> {
  const { begin, size } = await findDirectory(source);
  const fail = (what: string): Error => new source.fail(`${source.path}: damaged archive: ${what}`);
  if (size > MAX_DIRECTORY) throw fail(`its directory has ${size} bytes`);
  const view = viewOf(await source.read(begin, begin + size));
  const headers: { name: string; at: number; size: number }[] = [];
  for (let at = 0; at < size;) {
    if (at + ENTRY_BYTES > size || view.getUint32(at, true) !== ENTRY_SIGNATURE) throw fail("its directory is cut off");
    const [nameBytes, extraBytes, commentBytes] = [28, 30, 32].map((o) => view.getUint16(at + o, true));
    const next = at + ENTRY_BYTES + nameBytes! + extraBytes! + commentBytes!;
    if (next > size) throw fail("its directory is cut off");
    const name = textOf(view, at + ENTRY_BYTES, nameBytes!);
    if (view.getUint16(at + 10, true) !== 0) {
      throw new source.fail(
        `${source.path}: expected files that are stored as they are, found ${name} compressed; save it with torch.save`,
      );
    }
    const entry = sizes(view, at, at + ENTRY_BYTES + nameBytes!, extraBytes!);
    headers.push({ name, ...entry });
    at = next;
  }
  return separate(source, headers, begin);
}

async function findDirectory(source: ByteSource): Promise<Directory> {
  const length = Math.min(source.size, END_BYTES + MAX_COMMENT);
  const from = source.size - length;
  const tail = viewOf(await source.read(from, source.size));
  for (let at = length - END_BYTES; at >= 0; at--) {
    if (tail.getUint32(at, true) !== END_SIGNATURE) continue;
    const plain = { begin: tail.getUint32(at + 16, true), size: tail.getUint32(at + 12, true) };
    const found = at >= LOCATOR_BYTES && tail.getUint32(at - LOCATOR_BYTES, true) === LOCATOR_SIGNATURE
      ? await directory64(source, big(tail, at - LOCATOR_BYTES + 8))
      : plain;
    if (found && found.begin + found.size <= from + at) return found;
    break;
  }
  throw new source.fail(
    `${source.path}: cut short or damaged: it begins like a zip archive and has no directory at its end`,
  );
}

async function directory64(source: ByteSource, at: number): Promise<Directory | undefined> {
  if (!(at + END64_BYTES <= source.size)) return undefined;
  const end = viewOf(await source.read(at, at + END64_BYTES));
  if (end.getUint32(0, true) !== END64_SIGNATURE) return undefined;
  return { begin: big(end, 48), size: big(end, 40) };
}

/** Size and position of an entry, from its 64-bit extra field where they do not fit. */
function sizes(view: DataView, at: number, extra: number, extraBytes: number): { at: number; size: number } {
  const fields = [24, 20, 42].map((o) => view.getUint32(at + o, true));
  for (let e = extra; e + 4 <= extra + extraBytes; e += 4 + view.getUint16(e + 2, true)) {
    if (view.getUint16(e, true) !== 1) continue;
    let from = e + 4;
    fields.forEach((value, k) => {
      if (value !== ELSEWHERE || from + 8 > extra + extraBytes) return;
      fields[k] = big(view, from);
      from += 8;
    });
  }
  return { size: fields[0]!, at: fields[2]! };
}

/** The entries, each within what lies between its header and the next. */
function separate(
  source: ByteSource,
  headers: readonly { name: string; at: number; size: number }[],
  directory: number,
): Map<string, ArchiveEntry> {
  const entries = new Map<string, ArchiveEntry>();
  const ordered = headers.toSorted((a, b) => a.at - b.at);
  for (const [i, { name, at, size }] of ordered.entries()) {
    const limit = ordered[i + 1]?.at ?? directory;
    const bad = (what: string): Error => new source.fail(`${source.path}: damaged archive: ${name} ${what}`);
    if (!(at + LOCAL_BYTES + size <= limit)) throw bad("overlaps another file of it");
    if (entries.has(name)) throw bad("is there twice");
    // The data lies behind a header of its own, which is read with it.
    const locate = async (): Promise<number> => {
      const local = viewOf(await source.read(at, at + LOCAL_BYTES));
      if (local.getUint32(0, true) !== LOCAL_SIGNATURE) throw bad("is not where its directory says");
      const begin = at + LOCAL_BYTES + local.getUint16(26, true) + local.getUint16(28, true);
      if (begin + size > limit) throw bad("overlaps another file of it");
      return begin;
    };
    entries.set(name, { name, size, locate });
  }
  return entries;
}

function viewOf(bytes: Uint8Array<ArrayBuffer>): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function textOf(view: DataView, at: number, length: number): string {
  return new TextDecoder().decode(new Uint8Array(view.buffer, view.byteOffset + at, length));
}

function big(view: DataView, at: number): number {
  return Number(view.getBigUint64(at, true));
}
