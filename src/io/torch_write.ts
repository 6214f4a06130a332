/** Writing files that `torch.load` opens, with `weights_only=True` too: numbers, texts, plain containers and tensors. */
import { Zip, ZipPassThrough } from "fflate";
import { UsageError } from "../errors.ts";
import { type AtomicFile, writeAtomic } from "./atomic.ts";
import type { TensorToWrite } from "./safetensors.ts";
import { DTYPE_BYTES, elementCount, type FileDtype } from "./tensor.ts";

/** A value to save. Arrays become lists, {@linkcode TorchTuple}s tuples, maps dictionaries. */
export type TorchValue =
  | null
  | boolean
  | number
  | string
  | readonly TorchValue[]
  | TorchTuple
  | ReadonlyMap<string | number, TorchValue>
  | TensorToWrite;

/** A Python tuple. */
export class TorchTuple {
  readonly items: readonly TorchValue[];

  constructor(...items: readonly TorchValue[]) {
    this.items = items;
  }
}

const STORAGE_NAMES: Readonly<Partial<Record<FileDtype, string>>> = {
  F64: "DoubleStorage",
  F32: "FloatStorage",
  F16: "HalfStorage",
  BF16: "BFloat16Storage",
  I64: "LongStorage",
  I32: "IntStorage",
  I16: "ShortStorage",
  I8: "CharStorage",
  U8: "ByteStorage",
  BOOL: "BoolStorage",
};

/** Where a storage's bytes begin, as PyTorch aligns them. */
const ALIGNMENT = 64;
/** Name of the extra field that pads up to there: PyTorch's own. */
const PADDING_FIELD = 0x4246;
const LOCAL_HEADER_BYTES = 30;
const EXTRA_HEADER_BYTES = 4;
/** What an archive without 64-bit extensions can hold. */
const MAX_BYTES = 2 ** 32 - 2 ** 20;

/**
 * Writes a file atomically, one tensor at a time. Equal values give equal bytes.
 *
 * @throws {UsageError} if it would have 4 GiB or more, or a tensor's bytes do not fit its shape
 * @throws {CoopFlowError} naming path and reason if the system refuses; the old file stays
 */
export async function writeTorch(path: string, value: TorchValue): Promise<void> {
  const pickler = new Pickler();
  const pickle = pickler.run(value);
  const total = pickler.tensors.reduce((sum, t) => sum + elementCount(t.shape) * DTYPE_BYTES[t.dtype], 0);
  if (total > MAX_BYTES) throw new UsageError(`${path}: expected less than 4 GiB to save, found ${total} bytes`);
  await writeAtomic(path, async (file) => {
    const archive = new Archive(file);
    await archive.add("data.pkl", pickle);
    await archive.add("byteorder", new TextEncoder().encode("little"));
    for (const [key, { shape, dtype, bytes: given }] of pickler.tensors.entries()) {
      const bytes = typeof given === "function" ? await given() : given;
      const expected = elementCount(shape) * DTYPE_BYTES[dtype];
      if (bytes.byteLength !== expected) {
        throw new UsageError(`${path}: expected ${expected} bytes for tensor ${key}, got ${bytes.byteLength}`);
      }
      await archive.add(`data/${key}`, bytes);
    }
    await archive.add("version", new TextEncoder().encode("3\n"));
    await archive.end();
  });
}

/** A zip archive in a folder of its own, its files stored as they are. */
class Archive {
  readonly #file: AtomicFile;
  readonly #zip: Zip;
  #chunks: Uint8Array[] = [];

  constructor(file: AtomicFile) {
    this.#file = file;
    this.#zip = new Zip((error, chunk) => {
      if (error) throw error;
      this.#chunks.push(chunk);
    });
  }

  async add(name: string, content: Uint8Array): Promise<void> {
    const entry = new ZipPassThrough(`archive/${name}`);
    // Any fixed time: equal values shall give equal files.
    entry.mtime = new Date(1980, 0, 1);
    const begin = this.#file.position + LOCAL_HEADER_BYTES + entry.filename.length + EXTRA_HEADER_BYTES;
    entry.extra = { [PADDING_FIELD]: new Uint8Array((ALIGNMENT - begin % ALIGNMENT) % ALIGNMENT) };
    this.#zip.add(entry);
    entry.push(content, true);
    await this.#flush();
  }

  async end(): Promise<void> {
    this.#zip.end();
    await this.#flush();
  }

  async #flush(): Promise<void> {
    const chunks = this.#chunks;
    this.#chunks = [];
    for (const chunk of chunks) await this.#file.write(chunk);
  }
}

/** Writes pickle protocol 2. */
class Pickler {
  /** Tensors met so far; the position is the storage's key. */
  readonly tensors: TensorToWrite[] = [];
  readonly #bytes: number[] = [];

  run(value: TorchValue): Uint8Array {
    this.#bytes.push(0x80, 2);
    this.#write(value);
    this.#op(".");
    return Uint8Array.from(this.#bytes);
  }

  #op(code: string): void {
    this.#bytes.push(code.charCodeAt(0));
  }

  #write(value: TorchValue): void {
    if (value === null) this.#op("N");
    else if (typeof value === "boolean") this.#bytes.push(value ? 0x88 : 0x89);
    else if (typeof value === "number") this.#number(value);
    else if (typeof value === "string") this.#text(value);
    else if (value instanceof TorchTuple) this.#marked("", value.items, "t");
    else if (Array.isArray(value)) this.#marked("]", value, "e");
    else if (value instanceof Map) this.#marked("}", [...value].flat(), "u");
    else this.#tensor(value as TensorToWrite);
  }

  /** What the items are put into, a mark, the items, and what puts them there. */
  #marked(target: string, items: readonly TorchValue[], end: string): void {
    if (target !== "") this.#op(target);
    this.#op("(");
    for (const item of items) this.#write(item);
    this.#op(end);
  }

  #number(value: number): void {
    const view = new DataView(new ArrayBuffer(8));
    if (Number.isInteger(value) && Math.abs(value) < 2 ** 31) {
      view.setInt32(0, value, true);
      this.#op("J");
      this.#bytes.push(...new Uint8Array(view.buffer, 0, 4));
    } else if (Number.isSafeInteger(value)) {
      view.setBigInt64(0, BigInt(value), true);
      this.#bytes.push(0x8a, 8, ...new Uint8Array(view.buffer));
    } else {
      view.setFloat64(0, value, false);
      this.#op("G");
      this.#bytes.push(...new Uint8Array(view.buffer));
    }
  }

  #text(value: string): void {
    const bytes = new TextEncoder().encode(value);
    const length = new DataView(new ArrayBuffer(4));
    length.setUint32(0, bytes.length, true);
    this.#op("X");
    this.#bytes.push(...new Uint8Array(length.buffer), ...bytes);
  }

  #global(module: string, name: string): void {
    this.#op("c");
    this.#bytes.push(...new TextEncoder().encode(`${module}\n${name}\n`));
  }

  #tensor(tensor: TensorToWrite): void {
    const { dtype, shape } = tensor;
    const storage = STORAGE_NAMES[dtype];
    if (storage === undefined) throw new UsageError(`expected an element type that PyTorch has, found ${dtype}`);
    const key = this.tensors.push(tensor) - 1;
    const strides = shape.map((_, k) => elementCount(shape.slice(k + 1)));
    this.#global("torch._utils", "_rebuild_tensor_v2");
    this.#op("(");
    // The storage, by the id that the reader looks for in the archive.
    this.#op("(");
    this.#text("storage");
    this.#global("torch", storage);
    this.#text(String(key));
    this.#text("cpu");
    this.#number(elementCount(shape));
    this.#op("t");
    this.#op("Q");
    this.#number(0);
    this.#write(new TorchTuple(...shape));
    this.#write(new TorchTuple(...strides));
    this.#write(false);
    this.#global("collections", "OrderedDict");
    this.#op(")");
    this.#op("R");
    this.#op("t");
    this.#op("R");
  }
}
