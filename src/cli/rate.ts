/** How far a long computation is, on the error output: a line that changes on a terminal, plain lines into a pipe. */
import process from "node:process";
import { duration } from "./progress.ts";

/** Time between two changes of the line on a terminal, and between two plain lines, in milliseconds. */
const TERMINAL_INTERVAL = 100;
const PLAIN_INTERVAL = 10_000;

/** Tells how much is done, how fast it goes, and what is left. Close it, or declare it with `using`. */
export class Rate implements Disposable {
  readonly #what: string;
  readonly #from: number;
  readonly #began = performance.now();
  readonly #terminal = process.stderr.isTTY === true;
  #last: number;
  #shown = false;

  /**
   * @param what what is counted, such as "images"
   * @param from how many were done before
   */
  constructor(what: string, from = 0) {
    this.#what = what;
    this.#from = from;
    this.#last = this.#began;
  }

  /** Says so if it is time to and something is left; `more` goes between the rate and the time left. */
  update(done: number, total: number, more = ""): void {
    const now = performance.now();
    if (done >= total || now - this.#last < (this.#terminal ? TERMINAL_INTERVAL : PLAIN_INTERVAL)) return;
    this.#last = now;
    const rate = (done - this.#from) / ((now - this.#began) / 1000);
    const count = (n: number): string => n.toLocaleString("en-US");
    const text = [
      `${this.#what} ${count(done)}/${count(total)}`,
      rate >= 1 ? `${rate.toFixed(rate >= 100 ? 0 : 1)}/s` : `${(1 / rate).toFixed(1)} s each`,
      ...(more === "" ? [] : [more]),
      `${duration((total - done) / rate)} left`,
    ].join("  ");
    if (!this.#terminal) return console.error(text);
    process.stderr.write(`\r\x1b[2K${text.slice(0, (process.stderr.columns ?? 80) - 1)}`);
    this.#shown = true;
  }

  /** Leaves the terminal as it should be. */
  [Symbol.dispose](): void {
    if (this.#shown) process.stderr.write("\n");
    this.#shown = false;
  }
}
