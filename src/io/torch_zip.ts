/** The format of `torch.save` since PyTorch 1.6: a zip archive of `NAME/data.pkl` and a file `NAME/data/KEY` for each storage. */
import type { ByteSource } from "./byte_source.ts";
import type { PickleValue } from "./pickle_values.ts";
import { MAX_PICKLE, storageId, TorchPickles } from "./torch_pickle.ts";
import type { TorchStorage } from "./torch_values.ts";
import { type ArchiveEntry, readZipDirectory } from "./zip_directory.ts";

const PICKLE = "data.pkl";

/** Reads what was saved. */
export async function readZipTorch(source: ByteSource): Promise<PickleValue> {
  const entries = await readZipDirectory(source);
  const pickles = new TorchPickles(source);
  const pickle = [...entries.values()].find(({ name }) => name === PICKLE || /^[^/]*\/data\.pkl$/.test(name));
  if (!pickle) throw pickles.fail("expected a file of torch.save, found a zip archive without data.pkl");
  const folder = pickle.name.slice(0, -PICKLE.length);
  const order = entries.get(`${folder}byteorder`);
  if (order && new TextDecoder().decode(await contentOf(source, order, 16)).trim() !== "little") {
    throw pickles.fail("expected numbers in little-endian order, found another; save it on a little-endian machine");
  }
  const storages = new Map<string, TorchStorage>();
  const persistent = (id: PickleValue): TorchStorage => {
    const { storage, key, bytes } = storageId(id, pickles);
    const entry = entries.get(`${folder}data/${key}`);
    if (!entry) throw pickles.fail(`damaged: the storage ${key} that its pickle refers to is not there`);
    const made = storage(entry.locate);
    const known = storages.get(key);
    if (bytes !== entry.size || (known && known.dtype !== made.dtype)) {
      throw pickles.fail(`damaged: its pickle expects ${bytes} bytes of storage ${key}, found ${entry.size}`);
    }
    if (!known) storages.set(key, made);
    return known ?? made;
  };
  const { value } = pickles.read(await contentOf(source, pickle, MAX_PICKLE), 0, persistent);
  pickles.checkSeparate();
  return value;
}

async function contentOf(source: ByteSource, { name, size, locate }: ArchiveEntry, most: number): Promise<Uint8Array> {
  if (size > most) throw new source.fail(`${source.path}: expected at most ${most} bytes of ${name}, found ${size}`);
  const begin = await locate();
  return await source.read(begin, begin + size);
}
