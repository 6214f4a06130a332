/**
 * The header of a safetensors file: 8 bytes of length (little-endian), then that many bytes of JSON,
 * `{"name": {"dtype", "shape", "data_offsets": [begin, end]}, …, "__metadata__": {string: string}}`, then the data.
 *
 * A file may come from anywhere, so all of it is checked before any of it is used.
 */

import type { ErrorClass } from "../errors.ts";
import { DTYPE_BYTES, elementCount, type FileDtype } from "./tensor.ts";

/** Where a tensor lies. */
export interface TensorEntry {
  readonly dtype: FileDtype;
  readonly shape: readonly number[];
  /** First byte, counted from the start of the data. */
  readonly begin: number;
  /** One past the last byte. */
  readonly end: number;
}

/** A checked header. */
export interface SafetensorsHeader {
  /** By name, in the order of the header. */
  readonly tensors: ReadonlyMap<string, TensorEntry>;
  readonly metadata: ReadonlyMap<string, string>;
  /** Where the data starts in the file. */
  readonly dataStart: number;
}

/** Bytes of the length in front of the header. */
export const LENGTH_BYTES = 8;

// The format's own limit.
const MAX_HEADER_BYTES = 100_000_000;
const METADATA_KEY = "__metadata__";

/**
 * The header's length from the file's first 8 bytes.
 *
 * @param fileBytes size of the whole file
 */
export function headerLength(first: Uint8Array, fileBytes: number, label: string, fail: ErrorClass): number {
  if (fileBytes < LENGTH_BYTES + 2 || first.length < LENGTH_BYTES) {
    throw new fail(`${label}: not a safetensors file or cut short: ${fileBytes} bytes hold no header`);
  }
  const view = new DataView(first.buffer, first.byteOffset, LENGTH_BYTES);
  const length = view.getUint32(4, true) * 0x100000000 + view.getUint32(0, true);
  if (length < 2 || length > MAX_HEADER_BYTES) {
    throw new fail(`${label}: not a safetensors file: it claims a header of ${length} bytes`);
  }
  if (length > fileBytes - LENGTH_BYTES) {
    throw new fail(`${label}: cut short: it has ${fileBytes} bytes and claims a header of ${length}`);
  }
  return length;
}

/** Parses and checks the header's JSON; every entry's range lies in the file, and together they cover the data. */
export function parseHeader(json: Uint8Array, fileBytes: number, label: string, fail: ErrorClass): SafetensorsHeader {
  if (json[0] !== 0x7b) throw new fail(`${label}: not a safetensors file: its header does not start with "{"`);
  const root = parseJson(json, label, fail);
  if (!isRecord(root)) throw new fail(`${label}: corrupt header: expected a JSON object`);

  const tensors = new Map<string, TensorEntry>();
  let metadata: ReadonlyMap<string, string> = new Map();
  for (const [name, value] of Object.entries(root)) {
    if (name === METADATA_KEY) metadata = parseMetadata(value, label, fail);
    else tensors.set(name, parseEntry(name, value, label, fail));
  }
  const dataStart = LENGTH_BYTES + json.length;
  checkCoverage(tensors, fileBytes - dataStart, label, fail);
  return { tensors, metadata, dataStart };
}

/**
 * Lays tensors out one after the other in the given order, and encodes the header, padded so that the data starts at a
 * multiple of 8 bytes.
 */
export function buildHeader(
  tensors: ReadonlyMap<string, { readonly dtype: FileDtype; readonly shape: readonly number[] }>,
  metadata: ReadonlyMap<string, string>,
): Uint8Array {
  // Entries of a list keep the order that an object would not: names such as "12" come first in objects.
  const parts: string[] = [];
  if (metadata.size > 0) {
    const entries = [...metadata].sort(([a], [b]) => a < b ? -1 : 1);
    const pairs = entries.map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`);
    parts.push(`"${METADATA_KEY}":{${pairs.join(",")}}`);
  }
  let begin = 0;
  for (const [name, { dtype, shape }] of tensors) {
    const end = begin + elementCount(shape) * DTYPE_BYTES[dtype];
    parts.push(`${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets: [begin, end] })}`);
    begin = end;
  }
  const json = new TextEncoder().encode(`{${parts.join(",")}}`);
  const padded = Math.ceil((LENGTH_BYTES + json.length) / 8) * 8;
  const header = new Uint8Array(padded).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(padded - LENGTH_BYTES), true);
  header.set(json, LENGTH_BYTES);
  return header;
}

/** Why a tensor of this name cannot be written, or undefined if it can. */
export function nameProblem(name: string): string | undefined {
  return name === METADATA_KEY ? `a tensor may not be named ${METADATA_KEY}` : undefined;
}

function parseJson(json: Uint8Array, label: string, fail: ErrorClass): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(json));
  } catch (error) {
    throw new fail(`${label}: corrupt header: it is not JSON in UTF-8`, { cause: error });
  }
}

function parseMetadata(value: unknown, label: string, fail: ErrorClass): ReadonlyMap<string, string> {
  if (!isRecord(value)) throw new fail(`${label}: corrupt header: expected ${METADATA_KEY} to be an object`);
  const metadata = new Map<string, string>();
  for (const [key, text] of Object.entries(value)) {
    if (typeof text !== "string") {
      throw new fail(`${label}: corrupt header: expected ${METADATA_KEY} ${quote(key)} to be a string`);
    }
    metadata.set(key, text);
  }
  return metadata;
}

function parseEntry(name: string, value: unknown, label: string, fail: ErrorClass): TensorEntry {
  const corrupt = (what: string) => new fail(`${label}: corrupt header: tensor ${quote(name)}: ${what}`);
  if (!isRecord(value)) throw corrupt("expected an object");
  const unknown = Object.keys(value).find((key) => key !== "dtype" && key !== "shape" && key !== "data_offsets");
  if (unknown !== undefined) throw corrupt(`unknown field ${quote(unknown)}`);
  const { dtype, shape, data_offsets: offsets } = value;
  if (!isDtype(dtype)) {
    throw corrupt(`expected dtype to be one of ${Object.keys(DTYPE_BYTES).join(", ")}, found ${quote(dtype)}`);
  }
  if (!isSizes(shape)) throw corrupt("expected shape to be a list of non-negative integers");
  if (!isSizes(offsets) || offsets.length !== 2) {
    throw corrupt("expected data_offsets to be two non-negative integers");
  }
  const [begin = 0, end = 0] = offsets;
  const bytes = elementCount(shape) * DTYPE_BYTES[dtype];
  if (begin > end || end - begin !== bytes) {
    throw corrupt(
      `its offsets [${begin}, ${end}] do not hold the ${bytes} bytes of shape ${excerpt(`[${shape.join(", ")}]`)}`,
    );
  }
  return { dtype, shape, begin, end };
}

/** The format allows neither holes nor overlaps: what no tensor names could hide anything. */
function checkCoverage(
  tensors: ReadonlyMap<string, TensorEntry>,
  dataBytes: number,
  label: string,
  fail: ErrorClass,
): void {
  const ordered = [...tensors].sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end);
  let reached = 0;
  for (const [name, { begin, end }] of ordered) {
    if (begin !== reached) {
      const fault = begin < reached ? "overlaps the one before it" : "leaves a hole before it";
      throw new fail(`${label}: corrupt header: tensor ${quote(name)} at [${begin}, ${end}] ${fault}`);
    }
    reached = end;
  }
  if (reached > dataBytes) {
    throw new fail(`${label}: cut short: its tensors need ${reached} bytes of data, it has ${dataBytes}`);
  }
  if (reached < dataBytes) {
    throw new fail(`${label}: corrupt: its tensors need ${reached} bytes of data, it has ${dataBytes}`);
  }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isDtype(value: unknown): value is FileDtype {
  return typeof value === "string" && Object.hasOwn(DTYPE_BYTES, value);
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0);
}

function quote(value: unknown): string {
  return excerpt(JSON.stringify(value) ?? "nothing");
}

function excerpt(text: string): string {
  return text.length > 80 ? text.slice(0, 80) + "…" : text;
}
