/** TensorBoard's event file of a run: one, cut back like the other logs when a run goes on from a checkpoint. */
import { Buffer } from "node:buffer";
import { appendFile, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { CoopFlowError } from "../errors.ts";
import { writeAtomic } from "../io/atomic.ts";
import { systemReason } from "../io/system_error.ts";
import { cutEvents, type EventValue, fileHeader, hyperparameterRecord, stepRecord } from "../io/tensorboard.ts";
import type { CoopFlowConfig } from "./config.ts";
import { leaves } from "./runs.ts";

const NAME = /^events\.out\.tfevents\.(\d+)\.coopflow$/;
/** Records are gathered for so long before they are written, in milliseconds. */
const GATHERED = 2000;

/** Writes a run's events. */
export class RunEvents {
  readonly #path: string;
  #waiting: Uint8Array[] = [];
  #flushed = performance.now();

  private constructor(path: string) {
    this.#path = path;
  }

  /**
   * Goes on with the events of a run directory up to `iteration`. When some have to go, what is left is written under the next number, because a
   * TensorBoard that shows the run would read on in the middle of a file that has become shorter.
   *
   * @param name what the run is called
   */
  static async open(folder: string, name: string, config: CoopFlowConfig, iteration: number): Promise<RunEvents> {
    const numbers = (await readdir(folder)).flatMap((file) => NAME.exec(file)?.[1] ?? []).sort();
    const pathOf = (number: number): string =>
      join(folder, `events.out.tfevents.${String(number).padStart(10, "0")}.coopflow`);
    const last = Number(numbers.at(-1) ?? 0);
    const before = last === 0 ? new Uint8Array() : await readFile(pathOf(last));
    const kept = cutEvents(before, iteration);
    if (kept.length > 0 && kept.length === before.length) return new RunEvents(pathOf(last));
    const path = pathOf(last + 1);
    const fields = leaves(config, "").map(([field, text]) => [field, valueOf(text)] as const);
    const start = [fileHeader(now()), hyperparameterRecord(now(), name, Object.fromEntries(fields))];
    await writeAtomic(path, kept.length > 0 ? kept : Buffer.concat(start));
    for (const number of numbers) await rm(pathOf(Number(number)), { force: true });
    return new RunEvents(path);
  }

  /** Adds values of an iteration. */
  async add(iteration: number, values: readonly EventValue[]): Promise<void> {
    this.#waiting.push(stepRecord(now(), iteration, values));
    if (performance.now() - this.#flushed > GATHERED) await this.flush();
  }

  /**
   * Writes what has been gathered.
   *
   * @throws {CoopFlowError} if the system refuses
   */
  async flush(): Promise<void> {
    const bytes = Buffer.concat(this.#waiting);
    this.#waiting = [];
    this.#flushed = performance.now();
    if (bytes.length === 0) return;
    try {
      await appendFile(this.#path, bytes);
    } catch (error) {
      throw new CoopFlowError(`cannot append to ${this.#path}: ${systemReason(error)}`, { cause: error });
    }
  }
}

function now(): number {
  return Date.now() / 1000;
}

/** Numbers and truth values as such, lists and words as text. */
function valueOf(text: string): number | boolean | string {
  if (text === "true" || text === "false") return text === "true";
  return text !== "" && Number.isFinite(Number(text)) ? Number(text) : text;
}
