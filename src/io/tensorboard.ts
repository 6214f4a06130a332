/**
 * TensorBoard's event files: records of TensorFlow (length, masked CRC-32C, data, CRC) that hold `Event` messages of protocol buffers.
 * Field numbers are those of TensorFlow's event.proto, summary.proto and tensor.proto, and of TensorBoard's hparams/plugin_data.proto.
 */
import { Buffer } from "node:buffer";
import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";

/** A value of a step. */
export type EventValue =
  | { readonly tag: string; readonly scalar: number }
  | { readonly tag: string; readonly png: Uint8Array; readonly height: number; readonly width: number }
  | { readonly tag: string; readonly values: ArrayLike<number> };

/** Hyperparameters of a run; TensorBoard shows numbers, truth values and texts. */
export type Hyperparameters = Readonly<Record<string, number | boolean | string>>;

const HEADER_BYTES = 12;
const FOOTER_BYTES = 4;
/** Buckets of a histogram. */
const BUCKETS = 30;

/** The record that each file begins with. */
export function fileHeader(wallTime: number): Uint8Array {
  return record(event(wallTime, 0).uint32(tag(3, WireType.LengthDelimited)).string("brain.Event:2").finish());
}

/**
 * Values of a step, as one record.
 *
 * @param wallTime seconds since 1970
 */
export function stepRecord(wallTime: number, step: number, values: readonly EventValue[]): Uint8Array {
  const summary = new BinaryWriter();
  for (const value of values) message(summary, 1, (w) => writeValue(w, value));
  const writer = event(wallTime, step);
  writer.uint32(tag(5, WireType.LengthDelimited)).bytes(summary.finish());
  return record(writer.finish());
}

/** A run's hyperparameters, as a record. */
export function hyperparameterRecord(wallTime: number, group: string, parameters: Hyperparameters): Uint8Array {
  const start = new BinaryWriter();
  for (const [name, value] of Object.entries(parameters)) {
    message(start, 1, (entry) => {
      entry.uint32(tag(1, WireType.LengthDelimited)).string(name);
      message(entry, 2, (w) => writeParameter(w, value)); // google.protobuf.Value
    });
  }
  start.uint32(tag(4, WireType.LengthDelimited)).string(group);
  start.uint32(tag(5, WireType.Bit64)).double(wallTime);
  const summary = new BinaryWriter();
  message(summary, 1, (value) => {
    value.uint32(tag(1, WireType.LengthDelimited)).string("_hparams_/session_start_info");
    // A tensor of no floats: TensorBoard passes over values that have none.
    message(value, 8, (tensor) => {
      tensor.uint32(tag(1, WireType.Varint)).int32(1);
      message(tensor, 2, (shape) => message(shape, 2, (dim) => dim.uint32(tag(1, WireType.Varint)).int64(0)));
    });
    message(value, 9, (metadata) =>
      message(metadata, 1, (plugin) => {
        plugin.uint32(tag(1, WireType.LengthDelimited)).string("hparams");
        message(plugin, 2, (data) => data.uint32(tag(3, WireType.LengthDelimited)).bytes(start.finish()));
      }));
  });
  const writer = event(wallTime, 0);
  writer.uint32(tag(5, WireType.LengthDelimited)).bytes(summary.finish());
  return record(writer.finish());
}

/** The bytes of a file up to its last whole record of a step of at most `last`; what a killed process left torn goes. */
export function cutEvents(bytes: Uint8Array, last: number): Uint8Array {
  let end = 0;
  for (const { data, to } of records(bytes)) {
    if (stepOf(data) > last) break;
    end = to;
  }
  return bytes.subarray(0, end);
}

/** The whole records at the beginning of a file: data, and where in the file the next one begins. */
export function* records(bytes: Uint8Array): Generator<{ readonly data: Uint8Array; readonly to: number }> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at + HEADER_BYTES + FOOTER_BYTES <= bytes.length;) {
    const length = Number(view.getBigUint64(at, true));
    const to = at + HEADER_BYTES + length + FOOTER_BYTES;
    if (view.getUint32(at + 8, true) !== maskedCrc(bytes.subarray(at, at + 8)) || to > bytes.length) return;
    const data = bytes.subarray(at + HEADER_BYTES, to - FOOTER_BYTES);
    if (view.getUint32(to - FOOTER_BYTES, true) !== maskedCrc(data)) return;
    yield { data, to };
    at = to;
  }
}

function stepOf(data: Uint8Array): number {
  const reader = new BinaryReader(data);
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    if (field === 2) return Number(reader.int64());
    reader.skip(type);
  }
  return 0;
}

function tag(field: number, type: WireType): number {
  return field << 3 | type;
}

function message(writer: BinaryWriter, field: number, fill: (inner: BinaryWriter) => unknown): void {
  writer.uint32(tag(field, WireType.LengthDelimited)).fork();
  fill(writer);
  writer.join();
}

function event(wallTime: number, step: number): BinaryWriter {
  const writer = new BinaryWriter();
  writer.uint32(tag(1, WireType.Bit64)).double(wallTime);
  writer.uint32(tag(2, WireType.Varint)).int64(step);
  return writer;
}

function writeValue(writer: BinaryWriter, value: EventValue): void {
  writer.uint32(tag(1, WireType.LengthDelimited)).string(value.tag);
  if ("scalar" in value) writer.uint32(tag(2, WireType.Bit32)).float(value.scalar);
  else if ("png" in value) {
    message(writer, 4, (image) => {
      image.uint32(tag(1, WireType.Varint)).int32(value.height).uint32(tag(2, WireType.Varint)).int32(value.width);
      image.uint32(tag(3, WireType.Varint)).int32(3).uint32(tag(4, WireType.LengthDelimited)).bytes(value.png);
    });
  } else message(writer, 5, (histogram) => writeHistogram(histogram, value.values));
}

function writeHistogram(writer: BinaryWriter, values: ArrayLike<number>): void {
  let [min, max, sum, squares] = [Infinity, -Infinity, 0, 0];
  for (let i = 0; i < values.length; i++) {
    const value = values[i] ?? 0;
    min = Math.min(min, value);
    max = Math.max(max, value);
    sum += value;
    squares += value * value;
  }
  const width = (max - min) / BUCKETS || 1;
  const counts = new Array<number>(BUCKETS).fill(0);
  for (let i = 0; i < values.length; i++) {
    const bucket = Math.min(BUCKETS - 1, Math.floor(((values[i] ?? 0) - min) / width));
    counts[bucket] = (counts[bucket] ?? 0) + 1;
  }
  [min, max, values.length, sum, squares].forEach((number, i) => {
    writer.uint32(tag(i + 1, WireType.Bit64)).double(number);
  });
  const packed = (field: number, numbers: readonly number[]): void => {
    const bytes = new Uint8Array(Float64Array.from(numbers).buffer);
    writer.uint32(tag(field, WireType.LengthDelimited)).bytes(bytes);
  };
  packed(6, counts.map((_, i) => min + (i + 1) * width));
  packed(7, counts);
}

function writeParameter(writer: BinaryWriter, value: number | boolean | string): void {
  if (typeof value === "number") writer.uint32(tag(2, WireType.Bit64)).double(value);
  else if (typeof value === "string") writer.uint32(tag(3, WireType.LengthDelimited)).string(value);
  else writer.uint32(tag(4, WireType.Varint)).bool(value);
}

function record(data: Uint8Array): Uint8Array {
  const bytes = Buffer.alloc(HEADER_BYTES + data.length + FOOTER_BYTES);
  bytes.writeBigUInt64LE(BigInt(data.length), 0);
  bytes.writeUInt32LE(maskedCrc(bytes.subarray(0, 8)), 8);
  bytes.set(data, HEADER_BYTES);
  bytes.writeUInt32LE(maskedCrc(data), HEADER_BYTES + data.length);
  return bytes;
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, i) => {
  let crc = i;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? crc >>> 1 ^ 0x82f63b78 : crc >>> 1;
  return crc;
});

/** CRC-32C (Castagnoli) as TensorFlow masks it: rotated by 15 bits, plus a constant. */
export function maskedCrc(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = (CRC_TABLE[(crc ^ byte) & 0xff] ?? 0) ^ crc >>> 8;
  crc = ~crc >>> 0;
  return ((crc >>> 15 | crc << 17) + 0xa282ead8) >>> 0;
}
