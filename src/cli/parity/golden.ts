/** One case: tensors and settings that the reference program wrote, and which of them have been looked at. */
import { DataError } from "../../errors.ts";
import { type FileTensor, readSafetensors, type Safetensors, toFloat32 } from "../../io/safetensors.ts";

/** A tensor in the reference's layout. */
export interface GoldenTensor {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/** A golden file. Reading a tensor marks it: what no check has read at the end was not tested. */
export class Golden {
  readonly name: string;
  /** Where the file lies. */
  readonly path: string;
  readonly #tensors: ReadonlyMap<string, FileTensor>;
  readonly #metadata: ReadonlyMap<string, string>;
  readonly #unread: Set<string>;

  constructor(name: string, path: string, file: Safetensors) {
    this.name = name;
    this.path = path;
    this.#tensors = file.tensors;
    this.#metadata = file.metadata;
    this.#unread = new Set(file.tensors.keys());
  }

  /** Reads `path` whole. */
  static async read(name: string, path: string): Promise<Golden> {
    return new Golden(name, path, await readSafetensors(path));
  }

  /** Whether there is a tensor of this name. */
  has(name: string): boolean {
    return this.#tensors.has(name);
  }

  /** Names that begin with `prefix`, sorted, the prefix cut off. */
  names(prefix: string): string[] {
    return [...this.#tensors.keys()].filter((n) => n.startsWith(prefix)).map((n) => n.slice(prefix.length)).sort();
  }

  /**
   * A tensor.
   *
   * @throws {DataError} if the file has none of this name
   */
  tensor(name: string): GoldenTensor {
    const found = this.#tensors.get(name);
    if (!found) {
      throw new DataError(`expected a tensor "${name}", found ${[...this.#tensors.keys()].sort().join(", ")}`);
    }
    this.#unread.delete(name);
    return { shape: found.shape, data: toFloat32(found) };
  }

  /** Tensors nothing has read yet. */
  get unread(): readonly string[] {
    return [...this.#unread].sort();
  }

  /** A setting: the metadata's JSON. */
  setting(key: string): unknown {
    const text = this.#metadata.get(key);
    if (text === undefined) {
      throw new DataError(
        `expected "${key}" in the metadata, found ${[...this.#metadata.keys()].sort().join(", ") || "none"}`,
      );
    }
    try {
      return JSON.parse(text);
    } catch {
      throw new DataError(`metadata "${key}": expected JSON, found ${text.slice(0, 60)}`);
    }
  }

  /** A setting that is a number. */
  number(key: string): number {
    const value = this.setting(key);
    if (typeof value !== "number" || !Number.isFinite(value)) {
      throw new DataError(`metadata "${key}": expected a number, found ${JSON.stringify(value)}`);
    }
    return value;
  }
}
