/**
 * Reading what `torch.save` writes, in each of its three formats: zip archives (PyTorch 1.6 and later), plain pickles followed by storages, and
 * tar archives (before 2017). Nothing of the file is run: its pickles may build tensors and plain containers, nothing else.
 */
import type { ErrorClass } from "../errors.ts";
import { DataError } from "../errors.ts";
import { ByteSource } from "./byte_source.ts";
import type { PickleValue } from "./pickle_values.ts";
import { isTar } from "./tar_directory.ts";
import { DTYPE_BYTES, elementCount, type FileTensor } from "./tensor.ts";
import { readLegacyTorch } from "./torch_legacy.ts";
import { readTarTorch } from "./torch_tar.ts";
import type { TorchTensor } from "./torch_values.ts";
import { readZipTorch } from "./torch_zip.ts";

const ZIP_MAGIC = [0x50, 0x4b, 0x03, 0x04];
const FIRST_BYTES = 512;

/** An open file and the value that was saved. Tensors are read one at a time. Close it, or declare it `await using`. */
export class TorchFile implements AsyncDisposable {
  /** What was saved; tensors in it are {@linkcode TorchTensor}s. */
  readonly value: PickleValue;
  readonly #source: ByteSource;

  private constructor(source: ByteSource, value: PickleValue) {
    this.#source = source;
    this.value = value;
  }

  /**
   * Opens a file and reads its pickle.
   *
   * @throws as `fail` if it can't be read, is cut short or damaged, or names anything but tensors and plain containers
   */
  static async open(path: string, fail: ErrorClass = DataError): Promise<TorchFile> {
    const source = await ByteSource.open(path, "a file of torch.save", fail);
    try {
      return new TorchFile(source, await readValue(source));
    } catch (error) {
      await source.close();
      throw error;
    }
  }

  /** Reads a tensor, row-major whatever its strides are. */
  async read(tensor: TorchTensor): Promise<FileTensor> {
    const { storage, offset, span, shape, strides } = tensor;
    const size = DTYPE_BYTES[storage.dtype];
    const begin = span === 0 ? 0 : await storage.locate() + offset * size;
    const window = await this.#source.read(begin, begin + span * size);
    const bytes = elementCount(shape) === span && isRowMajor(shape, strides)
      ? window
      : gather(window, shape, strides, size);
    return { dtype: storage.dtype, shape: [...shape], bytes };
  }

  async close(): Promise<void> {
    await this.#source.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

async function readValue(source: ByteSource): Promise<PickleValue> {
  const first = await source.read(0, Math.min(FIRST_BYTES, source.size));
  if (ZIP_MAGIC.every((byte, i) => first[i] === byte)) return await readZipTorch(source);
  if (isTar(first)) return await readTarTorch(source);
  return await readLegacyTorch(source);
}

function isRowMajor(shape: readonly number[], strides: readonly number[]): boolean {
  let expected = 1;
  for (let k = shape.length - 1; k >= 0; k--) {
    if (shape[k] !== 1 && strides[k] !== expected) return false;
    expected *= shape[k]!;
  }
  return true;
}

/** Copies element by element in row-major order. */
function gather(
  window: Uint8Array,
  shape: readonly number[],
  strides: readonly number[],
  size: number,
): Uint8Array<ArrayBuffer> {
  const count = elementCount(shape);
  const out = new Uint8Array(count * size);
  const index = new Array<number>(shape.length).fill(0);
  let from = 0;
  for (let i = 0; i < count; i++) {
    out.set(window.subarray(from * size, (from + 1) * size), i * size);
    for (let k = shape.length - 1; k >= 0; k--) {
      from += strides[k]!;
      if (++index[k]! < shape[k]!) break;
      from -= shape[k]! * strides[k]!;
      index[k] = 0;
    }
  }
  return out;
}
