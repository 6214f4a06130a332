/** A data set whose images stay in a file and are read when they are asked for: the system's page cache is the only copy in memory. */

import { closeSync, openSync, readSync } from "node:fs";
import { DataError } from "../errors.ts";
import { systemReason } from "../io/system_error.ts";
import { checkRead, type Dataset, type ImageSize, levelValues } from "./dataset.ts";

/** Where images lie. */
export interface FileImages extends ImageSize {
  readonly name: string;
  readonly path: string;
  readonly levels: number;
  readonly count: number;
  /** Where the first begins, in bytes. */
  readonly start: number;
  /** Channels in the file; the first of them are read. */
  readonly storedChannels: number;
}

/**
 * Images of one byte per value in a file, one after the other, channels last. Each is one positioned read, microseconds when the page cache has it;
 * JavaScript has no memory map.
 */
export class FileDataset implements Dataset, Disposable {
  readonly name: string;
  readonly count: number;
  readonly height: number;
  readonly width: number;
  readonly channels: number;
  readonly levels: number;
  readonly #path: string;
  readonly #start: number;
  readonly #storedChannels: number;
  readonly #values: Float32Array;
  readonly #image: Uint8Array;
  #descriptor: number | undefined;

  /** @throws {DataError} if the file can't be opened */
  constructor(images: FileImages) {
    this.name = images.name;
    this.count = images.count;
    this.height = images.height;
    this.width = images.width;
    this.channels = images.channels;
    this.levels = images.levels;
    this.#path = images.path;
    this.#start = images.start;
    this.#storedChannels = images.storedChannels;
    this.#values = levelValues(images.levels);
    this.#image = new Uint8Array(images.height * images.width * images.storedChannels);
    this.#descriptor = this.#system(() => openSync(images.path, "r"));
  }

  read(index: number, into: Float32Array, offset: number): void {
    checkRead(this, index, into, offset);
    const descriptor = this.#descriptor;
    if (descriptor === undefined) throw new DataError(`${this.name}: expected an open data set, found a closed one`);
    const image = this.#image;
    const position = this.#start + index * image.length;
    for (let done = 0; done < image.length;) {
      const count = this.#system(() => readSync(descriptor, image, done, image.length - done, position + done));
      if (count === 0) throw new DataError(`${this.#path}: cut short while it was in use`);
      done += count;
    }
    const { channels } = this;
    const values = this.#values;
    let to = offset;
    for (let pixel = 0; pixel < image.length; pixel += this.#storedChannels) {
      for (let c = 0; c < channels; c++) into[to++] = values[image[pixel + c] ?? 0] ?? 0;
    }
  }

  close(): void {
    if (this.#descriptor !== undefined) closeSync(this.#descriptor);
    this.#descriptor = undefined;
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #system<T>(call: () => T): T {
    try {
      return call();
    } catch (error) {
      throw new DataError(`cannot read ${this.#path}: ${systemReason(error)}`, { cause: error });
    }
  }
}
