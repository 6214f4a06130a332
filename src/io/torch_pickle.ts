/** What PyTorch's three file formats share: pickles of bounded size, storages by key, and tensors that may not overlap. */
import type { ByteSource } from "./byte_source.ts";
import type { PickleValue } from "./pickle_values.ts";
import { PickleSequence } from "./pickle_values.ts";
import { DTYPE_BYTES } from "./tensor.ts";
import { type Failing, isSize, storageDtype, torchGlobals, TorchStorage, type TorchTensor } from "./torch_values.ts";
import { unpickle, type Unpickled } from "./unpickle.ts";

/** Most bytes of the pickles of one file; a paper-size checkpoint with its optimizers has 700 KB. */
export const MAX_PICKLE = 16 * 2 ** 20;

/** Reads the pickles of one file, with the callables that they may name. */
export class TorchPickles {
  readonly failing: Failing;
  readonly #globals: ReturnType<typeof torchGlobals>;
  readonly #tensors = new Map<TorchStorage, TorchTensor[]>();

  constructor({ path, fail }: ByteSource) {
    this.failing = { label: path, fail };
    this.#globals = torchGlobals(this.failing, (tensor) => this.add(tensor));
  }

  /** The pickle at `begin`; `persistent` finds storages by their ids. */
  read(bytes: Uint8Array, begin: number, persistent?: (id: PickleValue) => PickleValue): Unpickled {
    const host = { ...this.failing, globals: this.#globals };
    return unpickle(bytes, begin, persistent ? { ...host, persistent } : host);
  }

  /** Remembers a tensor for {@linkcode checkSeparate}. */
  add(tensor: TorchTensor): void {
    const others = this.#tensors.get(tensor.storage);
    if (others) others.push(tensor);
    else this.#tensors.set(tensor.storage, [tensor]);
  }

  /** Refuses tensors that share a part of their memory: what one holds would depend on the other. Sharing all of it is being the same tensor. */
  checkSeparate(): void {
    for (const tensors of this.#tensors.values()) {
      const ordered = tensors.filter((t) => t.span > 0).sort((a, b) => a.offset - b.offset || a.span - b.span);
      ordered.slice(1).forEach((tensor, i) => {
        const before = ordered[i]!;
        const same = tensor.offset === before.offset &&
          `${tensor.shape}|${tensor.strides}` === `${before.shape}|${before.strides}`;
        if (same || tensor.offset >= before.offset + before.span) return;
        throw this.fail(`it has tensors that overlap in memory, of shapes [${before.shape}] and [${tensor.shape}]`);
      });
    }
  }

  fail(what: string): Error {
    return new this.failing.fail(`${this.failing.label}: ${what}`);
  }
}

/** The part of a persistent id that all formats share: `("storage", type, key, location, length, …)`. */
export interface StorageId {
  readonly storage: (locate: () => Promise<number>) => TorchStorage;
  readonly key: string;
  readonly bytes: number;
  readonly rest: readonly PickleValue[];
}

/** Reads a persistent id. */
export function storageId(id: PickleValue, pickles: TorchPickles): StorageId {
  const [kind, type, key, , length, ...rest] = id instanceof PickleSequence ? id.items : [];
  const dtype = storageDtype(type);
  if (kind !== "storage" || dtype === undefined || typeof key !== "string" || !isSize(length)) {
    throw pickles.fail("its pickle refers to something that is no storage of a known type");
  }
  const bytes = length * DTYPE_BYTES[dtype];
  return { storage: (locate) => new TorchStorage(dtype, length, locate), key, bytes, rest };
}
