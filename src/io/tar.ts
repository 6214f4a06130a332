/** The files of a tar archive, one after the other, without writing any of them to disk. */

import { DataError } from "../errors.ts";
import type { ByteStream } from "./byte_stream.ts";
import { shown } from "./shown.ts";

/** A file of an archive. */
export interface TarFile {
  /** Its path in the archive. */
  readonly path: string;
  readonly size: number;
  /** What it holds. What is left unread is passed over. */
  readonly bytes: ByteStream;
}

const BLOCK = 512;
const CHECKSUM_AT = 148;
const CHECKSUM_BYTES = 8;
const MAGIC_AT = 257;
/** Bytes of the texts in front of a file: a long path, attributes. */
const MOST_TEXT = 2 ** 16;

/** Whether data that begins with `first` is a tar archive. */
export function isTar(first: Uint8Array): boolean {
  return first.length >= BLOCK && text(first, MAGIC_AT, 5) === "ustar";
}

/**
 * Walks through an archive (ustar, with the long paths of pax and GNU).
 *
 * @throws {DataError} if it is cut short or damaged, or has a path that leads out of it or a link: no data set does, and an archive that does may be
 * an attempt to read or write elsewhere
 */
export async function* tarFiles(archive: ByteStream): AsyncGenerator<TarFile, void, undefined> {
  let longPath: string | undefined;
  while (!await archive.ended()) {
    const header = await archive.read(BLOCK);
    if (header.every((byte) => byte === 0)) return;
    checkHeader(header, archive.label);
    const size = sizeOf(header, archive.label);
    const type = String.fromCharCode(header[156] ?? 0).replace("\0", "0");
    if (type === "x" || type === "g" || type === "L") {
      if (size > MOST_TEXT) throw new DataError(`${archive.label}: damaged archive: a path of ${size} bytes`);
      const content = new TextDecoder().decode(await archive.read(size));
      if (type === "L") longPath = content.replace(/\0.*$/s, "");
      else if (type === "x") longPath = /(?:^|\n)\d+ path=([^\n]*)\n/.exec(content)?.[1];
    } else {
      const path = longPath ?? pathOf(header);
      longPath = undefined;
      checkPath(path, archive.label);
      const bytes = archive.part(size, `${archive.label}: ${shown(path)}`);
      if (type === "0" || type === "7") yield { path, size, bytes };
      else if (type !== "5") {
        throw new DataError(
          `${archive.label}: expected files and folders, found ${shown(path)}, a link or device; not opened`,
        );
      }
      await bytes.drain();
    }
    await archive.skip(-size & (BLOCK - 1));
  }
}

function checkHeader(header: Uint8Array, label: string): void {
  const stated = octal(text(header, CHECKSUM_AT, CHECKSUM_BYTES));
  // The checksum was taken with spaces in its own place.
  const sum = header.reduce(
    (total, byte, at) => total + (at >= CHECKSUM_AT && at < CHECKSUM_AT + CHECKSUM_BYTES ? 0x20 : byte),
    0,
  );
  if (stated !== sum) throw new DataError(`${label}: damaged archive: a header's checksum is wrong`);
}

function sizeOf(header: Uint8Array, label: string): number {
  const size = octal(text(header, 124, 12));
  if (Number.isSafeInteger(size)) return size;
  throw new DataError(`${label}: damaged archive: a file without a size`);
}

function pathOf(header: Uint8Array): string {
  const name = text(header, 0, 100);
  const prefix = text(header, MAGIC_AT, 6) === "ustar" ? text(header, 345, 155) : "";
  return prefix === "" ? name : `${prefix}/${name}`;
}

function checkPath(path: string, label: string): void {
  const parts = path.split(/[/\\]/);
  if (!/^([/\\]|[A-Za-z]:)/.test(path) && !parts.includes("..")) return;
  throw new DataError(
    `${label}: expected paths inside the archive, found ${shown(path)}, which leads out of it; not opened`,
  );
}

function octal(digits: string): number {
  const trimmed = digits.trim();
  return /^[0-7]+$/.test(trimmed) ? Number.parseInt(trimmed, 8) : NaN;
}

function text(bytes: Uint8Array, at: number, length: number): string {
  return new TextDecoder().decode(bytes.subarray(at, at + length)).replace(/\0.*$/s, "");
}
