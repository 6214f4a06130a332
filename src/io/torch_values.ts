/** Tensors and storages as PyTorch's pickles describe them, and the few callables that make them. */
import type { ErrorClass } from "../errors.ts";
import { PickleDict, PickleGlobal, PickleObject, PickleSequence, type PickleValue } from "./pickle_values.ts";
import { DTYPE_BYTES, elementCount, type FileDtype } from "./tensor.ts";

/** Elements of one type that lie somewhere in the file; a tensor is a window on it. */
export class TorchStorage extends PickleObject {
  readonly dtype: FileDtype;
  /** Number of elements. */
  readonly length: number;
  /** Finds the position of its first byte in the file. */
  readonly locate: () => Promise<number>;

  constructor(dtype: FileDtype, length: number, locate: () => Promise<number>) {
    super();
    this.dtype = dtype;
    this.length = length;
    this.locate = locate;
  }
}

/** A tensor: element (i, j, …) is the storage's `offset` + i·stride₀ + j·stride₁ + …; every index names another element. */
export class TorchTensor extends PickleObject {
  readonly storage: TorchStorage;
  readonly offset: number;
  readonly shape: readonly number[];
  readonly strides: readonly number[];

  constructor(storage: TorchStorage, offset: number, shape: readonly number[], strides: readonly number[]) {
    super();
    this.storage = storage;
    this.offset = offset;
    this.shape = shape;
    this.strides = strides;
  }

  /** Elements of the storage from the first that belongs to the tensor up to the last. */
  get span(): number {
    if (this.shape.includes(0)) return 0;
    return 1 + this.shape.reduce((sum, size, k) => sum + (size - 1) * this.strides[k]!, 0);
  }
}

/** What PyTorch calls the storages of each type, under `torch` and `torch.cuda`. */
const STORAGES: Readonly<Record<string, FileDtype>> = {
  DoubleStorage: "F64",
  FloatStorage: "F32",
  HalfStorage: "F16",
  BFloat16Storage: "BF16",
  LongStorage: "I64",
  IntStorage: "I32",
  ShortStorage: "I16",
  CharStorage: "I8",
  ByteStorage: "U8",
  BoolStorage: "BOOL",
};

/** A NumPy element type, as scalars have one: some scores are stored so. */
class NumpyDtype extends PickleObject {
  readonly text: string;

  constructor(text: string) {
    super();
    this.text = text;
  }

  override setState(): boolean {
    return true;
  }
}

/** How to report what is wrong with a file. */
export interface Failing {
  readonly label: string;
  readonly fail: ErrorClass;
}

/** The element type that a storage type stands for; undefined if it is none. */
export function storageDtype(type: PickleValue | undefined): FileDtype | undefined {
  if (!(type instanceof PickleGlobal)) return undefined;
  return STORAGES[type.name.slice(type.name.lastIndexOf(".") + 1)];
}

/** Whether `value` can be a size, an offset or a number of elements. */
export function isSize(value: PickleValue | undefined): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

/** A checked tensor. */
export function tensorAt(
  storage: PickleValue | undefined,
  offset: PickleValue | undefined,
  shape: readonly PickleValue[],
  strides: readonly PickleValue[],
  { label, fail }: Failing,
): TorchTensor {
  const bad = (what: string): Error => new fail(`${label}: it describes a tensor ${what}`);
  if (!(storage instanceof TorchStorage)) throw bad("without a storage");
  const sizes = [offset, ...shape, ...strides];
  if (!sizes.every(isSize) || shape.length !== strides.length || shape.length > 16) {
    throw bad("whose shape, strides or offset make no sense");
  }
  const tensor = new TorchTensor(storage, offset as number, shape as number[], strides as number[]);
  const shown = `[${shape.join(", ")}]`;
  const elements = tensor.shape.includes(0) ? 0 : elementCount(tensor.shape);
  if (elements > storage.length || (elements > 0 && tensor.offset + tensor.span > storage.length)) {
    throw bad(`of shape ${shown} in a storage of ${storage.length} elements`);
  }
  if (elements > 1 && overlapsItself(tensor)) throw bad(`of shape ${shown} in which several indices are one element`);
  return tensor;
}

/** With dimensions ordered by stride, each has to step over all that lies inside it. */
function overlapsItself({ shape, strides }: TorchTensor): boolean {
  const order = shape.map((_, k) => k).filter((k) => shape[k] !== 1).sort((a, b) => strides[a]! - strides[b]!);
  let reach = 0;
  for (const k of order) {
    if (strides[k]! <= reach) return true;
    reach += (shape[k]! - 1) * strides[k]!;
  }
  return false;
}

/**
 * Everything that a pickle of PyTorch may name: storage types, tensors, parameters, ordered dictionaries, NumPy's numbers.
 *
 * @param made told of each tensor
 */
export function torchGlobals(failing: Failing, made: (tensor: TorchTensor) => void): ReadonlyMap<string, PickleGlobal> {
  const { label, fail } = failing;
  const globals: PickleGlobal[] = [];
  for (const type of Object.keys(STORAGES)) {
    globals.push(new PickleGlobal(`torch.${type}`), new PickleGlobal(`torch.cuda.${type}`));
  }
  const define = (name: string, call: (args: readonly PickleValue[]) => PickleValue): void => {
    globals.push(new PickleGlobal(name, call));
  };
  const rebuild = (args: readonly PickleValue[]): TorchTensor => {
    const [storage, offset, shape, strides] = args;
    if (!(shape instanceof PickleSequence) || !(strides instanceof PickleSequence)) {
      throw new fail(`${label}: it describes a tensor without a shape`);
    }
    const tensor = tensorAt(storage, offset, shape.items, strides.items, failing);
    made(tensor);
    return tensor;
  };
  define("torch._utils._rebuild_tensor", rebuild);
  define("torch._utils._rebuild_tensor_v2", rebuild);
  define("torch._utils._rebuild_parameter", ([tensor]) => {
    if (!(tensor instanceof TorchTensor)) throw new fail(`${label}: it describes a parameter without a tensor`);
    return tensor;
  });
  define("collections.OrderedDict", (args) => {
    if (args.length > 0) {
      throw new fail(`${label}: it makes an ordered dictionary of arguments, which PyTorch does not`);
    }
    return new PickleDict();
  });
  define("torch.Size", ([items]) => items ?? null);
  define("_codecs.encode", ([text, encoding]) => {
    if (typeof text !== "string" || encoding !== "latin1") throw new fail(`${label}: it encodes what is no text`);
    return Uint8Array.from(text, (c) => c.charCodeAt(0));
  });
  define("numpy.dtype", ([text]) => new NumpyDtype(String(text)));
  for (const module of ["numpy.core.multiarray", "numpy._core.multiarray"]) {
    define(`${module}.scalar`, (args) => numpyScalar(args, failing));
  }
  return new Map(globals.map((global) => [global.name, global]));
}

const NUMPY_READERS: Readonly<Record<string, (view: DataView) => number>> = {
  f8: (view) => view.getFloat64(0, true),
  f4: (view) => view.getFloat32(0, true),
  i8: (view) => Number(view.getBigInt64(0, true)),
  i4: (view) => view.getInt32(0, true),
};

function numpyScalar([dtype, bytes]: readonly PickleValue[], { label, fail }: Failing): number {
  const read = dtype instanceof NumpyDtype ? NUMPY_READERS[dtype.text] : undefined;
  const size = dtype instanceof NumpyDtype ? Number(dtype.text.slice(1)) : 0;
  if (!read || !(bytes instanceof Uint8Array) || bytes.length !== size) {
    throw new fail(`${label}: it has a NumPy number of an unknown type`);
  }
  return read(new DataView(bytes.buffer, bytes.byteOffset, size));
}

/** Bytes of a storage. */
export function storageBytes(storage: TorchStorage): number {
  return storage.length * DTYPE_BYTES[storage.dtype];
}
