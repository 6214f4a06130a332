/** A device with a model's states on it, and the programs that were compiled for it. */
import { CancelledError } from "../errors.ts";
import { Device, type DeviceOptions } from "../runtime/device.ts";
import type { Feeds, Fetches, NotFinite, Program } from "../runtime/program.ts";
import { withAdvice } from "./batch_that_fits.ts";
import { compileRequest } from "./compile_request.ts";
import { type CachedProgram, loadCached } from "./program_cache.ts";
import type { ProgramRequest } from "./program_request.ts";
import type { StateSpec } from "./states.ts";

/** How often a cancellation is repeated until the run has ended, in milliseconds. */
const CANCEL_INTERVAL = 10;

/** @throws {CancelledError} if the signal has been given */
export function throwIfCancelled(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new CancelledError("cancelled");
}

/** Owns a device. Programs are compiled when they are first asked for. */
export class Engine implements Disposable {
  readonly device: Device;
  readonly #programs = new Map<string, Promise<Program>>();
  readonly #compiling = new Map<string, Promise<CachedProgram>>();

  private constructor(device: Device) {
    this.device = device;
  }

  /**
   * Opens a device and creates the states on it.
   *
   * @param valueOf the value of each state; undefined: zeros
   * @throws {NativeError} if the library is missing or refuses
   */
  static open(
    options: DeviceOptions,
    states: readonly StateSpec[],
    valueOf: (spec: StateSpec, device: Device) => Float32Array | undefined,
  ): Engine {
    const device = Device.open(options);
    try {
      for (const spec of states) device.setState(spec.name, owned(valueOf(spec, device)), spec.shape);
      return new Engine(device);
    } catch (error) {
      device.close();
      throw error;
    }
  }

  /** Begins to compile a program that {@linkcode program} will be asked for. */
  prepare(key: string, request: ProgramRequest): void {
    if (this.#programs.has(key) || this.#compiling.has(key)) return;
    const compiling = this.#compile(request, false);
    compiling.catch(() => {}); // told of by who asks for the program
    this.#compiling.set(key, compiling);
  }

  /** The program called `key`, compiled or read from the cache if it is not there yet. */
  program(key: string, request: ProgramRequest): Promise<Program> {
    let program = this.#programs.get(key);
    if (program === undefined) {
      // A failure is not remembered: the next call may succeed, with less else in memory.
      const prepared = this.#compiling.get(key);
      this.#compiling.delete(key);
      program = loadCached(
        this.device,
        (fresh) => fresh || prepared === undefined ? this.#compile(request, fresh) : prepared,
      )
        .catch(async (error) => {
          throw await withAdvice(error, request, this.device.info, (smaller) => this.#compile(smaller, false));
        });
      program.catch(() => this.#programs.delete(key));
      this.#programs.set(key, program);
    }
    return program;
  }

  #compile(request: ProgramRequest, fresh: boolean): Promise<CachedProgram> {
    return compileRequest({ request, device: this.device.compileOptions, fresh });
  }

  /** Frees a program that is not needed any more. */
  async release(key: string): Promise<void> {
    const program = this.#programs.get(key);
    this.#programs.delete(key);
    (await program)?.close();
  }

  /**
   * Runs a program once; values that it has no feed for are left out.
   *
   * @throws {CancelledError} if the signal is given before the run has ended; no state has changed then
   */
  async run(program: Program, feeds: Feeds, signal: AbortSignal | undefined): Promise<Fetches> {
    throwIfCancelled(signal);
    const known = new Set(program.info.feeds.map((port) => port.name));
    const given = Object.fromEntries(Object.entries(feeds).filter(([name]) => known.has(name)));
    let timer: ReturnType<typeof setInterval> | undefined;
    const cancel = (): void => {
      this.device.cancel();
      // The run may not have reached the native queue when the signal comes, so once is not enough.
      timer = setInterval(() => this.device.cancel(), CANCEL_INTERVAL);
    };
    signal?.addEventListener("abort", cancel, { once: true });
    try {
      return await program.run(given);
    } finally {
      signal?.removeEventListener("abort", cancel);
      clearInterval(timer);
    }
  }

  /**
   * Runs a learning program once, without its updates, to see where a value that is not finite first comes up; `undefined`: nowhere, or the device
   * can't look.
   *
   * @throws {CancelledError} as {@linkcode run}
   */
  async watch(program: Program, feeds: Feeds, signal: AbortSignal | undefined): Promise<NotFinite | undefined> {
    if (!program.watch(true)) return undefined;
    try {
      await this.run(program, { ...feeds, flow_on: 0, ebm_on: 0 }, signal);
      return program.watchReport();
    } finally {
      program.watch(false);
    }
  }

  /** Cancels what runs and frees everything. */
  close(): void {
    this.#programs.clear();
    this.device.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function owned(data: Float32Array | undefined): Float32Array<ArrayBuffer> | undefined {
  if (data === undefined) return undefined;
  return data.buffer instanceof ArrayBuffer ? data as Float32Array<ArrayBuffer> : new Float32Array(data);
}
