/** Ctrl-C and SIGTERM. */
import process from "node:process";

/** Signals that come this soon after the first belong to it: under `deno task` one Ctrl-C arrives twice. */
const SAME_KEY_MS = 2000;

/** An abort signal that Ctrl-C and SIGTERM give. */
export interface Interruption extends Disposable {
  readonly signal: AbortSignal;
}

/**
 * Listens until disposed. The first Ctrl-C or SIGTERM aborts the signal; one that comes more than 2 s later ends the process at once.
 *
 * @param say told once, when the first signal comes
 */
export function listenForInterruption(say: (line: string) => void): Interruption {
  const controller = new AbortController();
  let first: number | undefined;
  const handle = (): void => {
    const now = performance.now();
    if (first === undefined) {
      first = now;
      say("stopping after saving what is complete (again to stop at once)");
      controller.abort();
    } else if (now - first > SAME_KEY_MS) process.exit(130);
  };
  const signals = ["SIGINT", "SIGTERM"] as const;
  for (const name of signals) process.on(name, handle);
  return {
    signal: controller.signal,
    [Symbol.dispose]() {
      for (const name of signals) process.off(name, handle);
    },
  };
}
