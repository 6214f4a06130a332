/**
 * The format of `torch.save` before 2017: a tar archive of `storages` (each a pickle of key, location and type, its number of elements and bytes),
 * `tensors` (each a pickle of key, storage and type, then shape, strides and offset) and `pickle`, which refers to tensors by their keys.
 */
import type { ByteSource } from "./byte_source.ts";
import { PickleSequence, type PickleValue } from "./pickle_values.ts";
import { readTarDirectory } from "./tar_directory.ts";
import { DTYPE_BYTES } from "./tensor.ts";
import { MAX_PICKLE, TorchPickles } from "./torch_pickle.ts";
import { isSize, storageDtype, tensorAt, TorchStorage, type TorchTensor } from "./torch_values.ts";

/** Bytes that are read for a storage's pickle. */
const SMALL_PICKLE = 4096;
const WORD = 8;

/** Reads what was saved. */
export async function readTarTorch(source: ByteSource): Promise<PickleValue> {
  const pickles = new TorchPickles(source);
  const entries = await readTarDirectory(source);
  const place = async (name: string): Promise<{ begin: number; end: number }> => {
    const entry = entries.get(name);
    if (!entry) throw pickles.fail(`expected a file of torch.save, found a tar archive without ${name}`);
    const begin = await entry.locate();
    return { begin, end: begin + entry.size };
  };
  const content = async (name: string): Promise<Uint8Array<ArrayBuffer>> => {
    const { begin, end } = await place(name);
    if (end - begin > MAX_PICKLE) throw pickles.fail(`expected at most ${MAX_PICKLE} bytes of ${name}`);
    return await source.read(begin, end);
  };
  const storages = await readStorages(source, pickles, await place("storages"));
  const tensors = readTensors(await content("tensors"), pickles, storages);
  const { value } = pickles.read(await content("pickle"), 0, (id) => {
    const tensor = tensors.get(String(id));
    if (!tensor) throw pickles.fail("its pickle refers to something that is none of its tensors");
    return tensor;
  });
  pickles.checkSeparate();
  return value;
}

async function readStorages(
  source: ByteSource,
  pickles: TorchPickles,
  { begin, end }: { begin: number; end: number },
): Promise<Map<string, TorchStorage>> {
  const storages = new Map<string, TorchStorage>();
  let at = begin;
  const next = async (): Promise<PickleValue> => {
    const window = await source.read(at, Math.min(end, at + SMALL_PICKLE));
    const { value, end: used } = pickles.read(window, 0);
    at += used;
    return value;
  };
  const count = await next();
  for (let i = 0; isSize(count) && i < count; i++) {
    const description = await next();
    const [key, , type] = description instanceof PickleSequence ? description.items : [];
    const dtype = storageDtype(type);
    if (dtype === undefined || key === undefined || at + WORD > end) {
      throw pickles.fail("damaged: it has a storage of no known type");
    }
    const length = Number(viewOf(await source.read(at, at + WORD)).getBigInt64(0, true));
    const first = at + WORD;
    at = first + length * DTYPE_BYTES[dtype];
    if (!isSize(length) || at > end) throw pickles.fail("cut short: a storage is longer than what is left");
    storages.set(String(key), new TorchStorage(dtype, length, () => Promise.resolve(first)));
  }
  const views = await next();
  for (const view of views instanceof PickleSequence ? views.items : []) {
    const [target, of, offset, length] = view instanceof PickleSequence ? view.items : [];
    const root = storages.get(String(of));
    if (!root || !isSize(offset) || !isSize(length) || offset + length > root.length) {
      throw pickles.fail("damaged: it refers to a part of a storage that is not there");
    }
    const locate = async (): Promise<number> => await root.locate() + offset * DTYPE_BYTES[root.dtype];
    storages.set(String(target), new TorchStorage(root.dtype, length, locate));
  }
  return storages;
}

function readTensors(
  bytes: Uint8Array<ArrayBuffer>,
  pickles: TorchPickles,
  storages: ReadonlyMap<string, TorchStorage>,
): Map<string, TorchTensor> {
  const tensors = new Map<string, TorchTensor>();
  const view = viewOf(bytes);
  const { value: count, end: first } = pickles.read(bytes, 0);
  let at = first;
  const word = (): number => {
    if (at + WORD > bytes.length) throw pickles.fail("cut short: its list of tensors ends early");
    at += WORD;
    return Number(view.getBigInt64(at - WORD, true));
  };
  for (let i = 0; isSize(count) && i < count; i++) {
    const { value, end } = pickles.read(bytes, at);
    at = end;
    const [key, storage] = value instanceof PickleSequence ? value.items : [];
    // Dimensions take 8 bytes, of which 4 count.
    const dimensions = word() % 2 ** 32;
    if (!(dimensions >= 0 && dimensions <= 16)) {
      throw pickles.fail("it describes a tensor whose shape, strides or offset make no sense");
    }
    const [shape, strides] = [0, 1].map(() => Array.from({ length: dimensions }, word)) as [number[], number[]];
    const tensor = tensorAt(storages.get(String(storage)), word(), shape, strides, pickles.failing);
    pickles.add(tensor);
    tensors.set(String(key), tensor);
  }
  return tensors;
}

function viewOf(bytes: Uint8Array<ArrayBuffer>): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
