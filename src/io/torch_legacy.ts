/**
 * The format of `torch.save` from 2017 to PyTorch 1.5: a magic number, a protocol version, facts about the machine, the value and the storages' keys, a
 * pickle each; then, in the order of the keys, each storage's number of elements (64 bits) and bytes.
 */
import type { ByteSource } from "./byte_source.ts";
import { PickleDict, PickleSequence, type PickleValue } from "./pickle_values.ts";
import { MAX_PICKLE, storageId, TorchPickles } from "./torch_pickle.ts";
import { isSize, TorchStorage } from "./torch_values.ts";

const MAGIC = 0x1950a86a20f9469cfc6cn;
const PROTOCOL = 1001;
const LENGTH_BYTES = 8;

interface Root {
  readonly storage: TorchStorage;
  readonly bytes: number;
}

/** Reads what was saved. */
export async function readLegacyTorch(source: ByteSource): Promise<PickleValue> {
  const pickles = new TorchPickles(source);
  const bytes = await source.read(0, Math.min(source.size, MAX_PICKLE));
  let at = 0;
  const next = (persistent?: (id: PickleValue) => PickleValue): PickleValue => {
    const { value, end } = pickles.read(bytes, at, persistent);
    at = end;
    return value;
  };
  if (next() !== MAGIC) throw pickles.fail("expected a file of torch.save, found another pickle");
  if (next() !== PROTOCOL) throw pickles.fail("expected a file of torch.save in a known version, found another");
  const machine = next();
  if (machine instanceof PickleDict && machine.entries.get("little_endian") === false) {
    throw pickles.fail("expected numbers in little-endian order, found another; save it on a little-endian machine");
  }
  const roots = new Map<string, Root>();
  const places = new Map<string, number>();
  const value = next((id) => storageOf(id, pickles, roots, places));
  const keys = next();
  if (!(keys instanceof PickleSequence)) throw pickles.fail("damaged: it has no list of its storages");
  for (const key of keys.items) {
    const root = typeof key === "string" ? roots.get(key) : undefined;
    if (!root || typeof key !== "string") throw pickles.fail("damaged: it lists a storage that nothing refers to");
    if (places.has(key)) throw pickles.fail("damaged: it lists a storage twice");
    const header = await source.read(at, at + LENGTH_BYTES);
    const length = Number(new DataView(header.buffer).getBigInt64(0, true));
    if (length !== root.storage.length) {
      throw pickles.fail(`damaged: expected ${root.storage.length} elements of storage ${key}, found ${length}`);
    }
    places.set(key, at + LENGTH_BYTES);
    at += LENGTH_BYTES + root.bytes;
    if (at > source.size) throw pickles.fail(`cut short: it has ${source.size} bytes and should have ${at} or more`);
  }
  const missing = [...roots.keys()].find((key) => !places.has(key));
  if (missing !== undefined) {
    throw pickles.fail(`damaged: the storage ${missing} that its pickle refers to is not there`);
  }
  pickles.checkSeparate();
  return value;
}

/** The storage of a persistent id, which may be a view `(key, offset, length)` of another. */
function storageOf(
  id: PickleValue,
  pickles: TorchPickles,
  roots: Map<string, Root>,
  places: ReadonlyMap<string, number>,
): TorchStorage {
  const { storage, key, bytes, rest: [view = null] } = storageId(id, pickles);
  const made = storage(() => Promise.resolve(places.get(key) ?? NaN));
  const root = roots.get(key) ?? { storage: made, bytes };
  if (root.bytes !== bytes || root.storage.dtype !== made.dtype) {
    throw pickles.fail(`damaged: its pickle refers to storage ${key} in two ways`);
  }
  roots.set(key, root);
  if (view === null) return root.storage;
  const [, offset, length] = view instanceof PickleSequence ? view.items : [];
  if (!isSize(offset) || !isSize(length) || offset + length > root.storage.length) {
    throw pickles.fail(`damaged: its pickle refers to a part of storage ${key} that is not there`);
  }
  const { dtype } = root.storage;
  const size = bytes / Math.max(root.storage.length, 1);
  return new TorchStorage(dtype, length, async () => await root.storage.locate() + offset * size);
}
