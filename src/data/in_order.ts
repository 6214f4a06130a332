/** Work on many files, a few at a time. */

import { CancelledError } from "../errors.ts";

/** How work on a folder is watched and stopped. */
export interface Watch {
  readonly signal?: AbortSignal | undefined;
  /** Told of each picture that is decoded. */
  readonly progress?: ((done: number, total: number) => void) | undefined;
}

/** Files in the works: enough to keep the cores busy. */
const AT_ONCE = 8;

/** The results of `call` on each of `items`, in their order, while the next ones are already under way. */
export async function* inOrder<T, R>(
  items: readonly T[],
  call: (item: T) => Promise<R>,
): AsyncGenerator<R, void, undefined> {
  const pending: Promise<R>[] = [];
  const rest = items[Symbol.iterator]();
  try {
    for (let ended = false; !ended || pending.length > 0;) {
      while (!ended && pending.length < AT_ONCE) {
        const { done, value } = rest.next();
        if (done === true) ended = true;
        else {
          const result = call(value);
          // Its turn comes later; until then a failure has no listener.
          result.catch(() => {});
          pending.push(result);
        }
      }
      const first = pending.shift();
      if (first !== undefined) yield await first;
    }
  } finally {
    await Promise.allSettled(pending);
  }
}

/** @throws {CancelledError} if the signal has been given */
export function throwIfCancelled(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new CancelledError("cancelled while pictures were read");
}
