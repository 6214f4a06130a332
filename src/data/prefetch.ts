/** The next batch, read while the native call for the one before it runs. */

import type { BatchStream } from "./batches.ts";

/** Where batches come from. */
export type Batches = Pick<BatchStream, "elements"> & { fill(iteration: number, into: Float32Array): unknown };

/** A batch that is ready. */
export interface ReadyBatch {
  /** [batch, height, width, channels]; overwritten when the batch after the next is prepared. */
  readonly images: Float32Array<ArrayBuffer>;
  /** How long reading it took. */
  readonly seconds: number;
}

/** Reads one batch ahead. Batches depend on their iteration alone, so there is nothing to save. */
export class Prefetch {
  readonly #stream: Batches;
  /** Two, so that the batch in use stays as it is. */
  readonly #buffers: [Float32Array<ArrayBuffer>, Float32Array<ArrayBuffer>];
  #prepared: ReadyBatch & { readonly iteration: number } | undefined;

  constructor(stream: Batches) {
    this.#stream = stream;
    this.#buffers = [new Float32Array(stream.elements), new Float32Array(stream.elements)];
  }

  /** The batch of an iteration: the prepared one if it is that, else it is read now. */
  take(iteration: number): ReadyBatch {
    if (this.#prepared?.iteration !== iteration) this.#prepare(iteration);
    const taken = this.#prepared;
    if (taken === undefined) throw new Error("a batch was prepared");
    this.#prepared = undefined;
    return taken;
  }

  /** Reads the batch of an iteration ahead, once what was started before has got under way. */
  async prepareSoon(iteration: number): Promise<void> {
    // A native call starts in a microtask, which this one must not hold up.
    await new Promise((resolve) => setTimeout(resolve, 0));
    try {
      this.#prepare(iteration);
    } catch {
      // The iteration under way needs nothing of it; whoever takes the batch reads it again and is told.
      this.#prepared = undefined;
    }
  }

  #prepare(iteration: number): void {
    const [images, other] = this.#buffers;
    this.#buffers[0] = other;
    this.#buffers[1] = images;
    const begin = performance.now();
    this.#stream.fill(iteration, images);
    this.#prepared = { iteration, images, seconds: (performance.now() - begin) / 1000 };
  }
}
