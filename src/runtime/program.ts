/** A loaded program: feeds in, one native call, fetches out. */
import { CancelledError, NativeError, UsageError } from "../errors.ts";
import { ErrorRoom, native, readText, STATUS, unwrap } from "./library.ts";

/** A tensor that the host writes or reads. */
export interface Port {
  readonly index: number;
  readonly name: string;
  readonly dtype: "f32" | "u32";
  readonly shape: readonly number[];
  readonly bytes: number;
}

/** What the native side knows of a program. */
export interface ProgramInfo {
  readonly instructions: number;
  readonly steps: number;
  readonly arena_bytes: number;
  readonly scratch_bytes: number;
  readonly flops: number;
  readonly feeds: readonly Port[];
  readonly fetches: readonly Port[];
}

/** Time spent in one instruction. */
export interface ProfileEntry {
  readonly index: number;
  readonly op: string;
  /** The layer that it came from. */
  readonly name: string;
  readonly calls: number;
  /** Of all calls together. */
  readonly seconds: number;
  /** Multiplications and additions of one call; a convolution counts as a direct one whatever computes it. */
  readonly flops: number;
  /** Operands read and results written by one call. */
  readonly bytes: number;
}

/** One execution of an instruction, in seconds since profiling began. */
export interface Execution {
  readonly index: number;
  readonly begin: number;
  readonly seconds: number;
}

/** Where the time of a program goes. */
export interface Profile {
  /** Every instruction, in program order. */
  readonly entries: readonly ProfileEntry[];
  /** What ran, in order: the first 262,144 executions. */
  readonly executions: readonly Execution[];
}

/** Where a value that is not finite first came up. */
export interface NotFinite {
  readonly op: string;
  /** The layer that the instruction came from; empty: none. */
  readonly name: string;
  /** The iteration of each loop around it, from 0, outermost first. */
  readonly loops: readonly number[];
  readonly value: "NaN" | "Infinity" | "-Infinity";
}

/** Values by feed name; a number feeds a single-element tensor. */
export type Feeds = Readonly<Record<string, Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer> | number>>;

/** Values by fetch name. */
export type Fetches = Record<string, Float32Array<ArrayBuffer>>;

/** Owns a native program. Made by `Device.load`. */
export class Program implements Disposable {
  readonly info: ProgramInfo;
  readonly #handle: bigint;
  readonly #forget: () => void;
  readonly #feeds: ReadonlyMap<string, Port>;
  readonly #fetches: ReadonlyMap<string, Port>;
  // Held here for the whole life of the program, so that no call in flight can lose it.
  readonly #room = new ErrorRoom();
  #open = true;
  #pending: Promise<unknown> = Promise.resolve();

  constructor(handle: bigint, forget: () => void) {
    this.#handle = handle;
    this.#forget = forget;
    this.info = JSON.parse(
      readText((out, length, needed, error) => native().cf_program_info(handle, out, length, needed, error)),
    );
    this.#feeds = new Map(this.info.feeds.map((p) => [p.name, p]));
    this.#fetches = new Map(this.info.fetches.map((p) => [p.name, p]));
  }

  /**
   * Runs once; runs of one program follow each other. All feeds must be given. `fetch` limits what is copied out (default all).
   * Throws UsageError for feeds that do not fit, CancelledError when cancelled, NativeError otherwise.
   */
  run(feeds: Feeds, fetch?: readonly string[]): Promise<Fetches> {
    const result = this.#pending.then(() => this.#run(feeds, fetch));
    this.#pending = result.catch(() => undefined);
    return result;
  }

  async #run(feeds: Feeds, fetch: readonly string[] | undefined): Promise<Fetches> {
    this.#checkOpen();
    for (const name of Object.keys(feeds)) {
      if (!this.#feeds.has(name)) {
        throw new UsageError(`feed: expected one of ${[...this.#feeds.keys()].join(", ")}, found ${name}`);
      }
    }
    for (const port of this.#feeds.values()) this.#feed(port, feeds[port.name]);
    const status = await native().cf_program_run(this.#handle, Deno.UnsafePointer.of(this.#room.bytes));
    if (status === STATUS.cancelled) {
      throw new CancelledError("cancelled before the step was complete; nothing was changed");
    }
    this.#room.unwrap(status);
    const out: Fetches = {};
    for (const name of fetch ?? this.#fetches.keys()) out[name] = this.#fetch(name);
    return out;
  }

  #feed(port: Port, value: Feeds[string] | undefined): void {
    if (value === undefined) {
      throw new UsageError(`feed ${port.name}: expected ${port.dtype} of shape [${port.shape}], found nothing`);
    }
    const array = typeof value === "number"
      ? (port.dtype === "f32" ? Float32Array.of(value) : Uint32Array.of(value))
      : value;
    const kind = array instanceof Float32Array ? "f32" : "u32";
    if (kind !== port.dtype || array.byteLength !== port.bytes) {
      throw new UsageError(
        `feed ${port.name}: expected ${
          port.bytes / 4
        } ${port.dtype} values of shape [${port.shape}], found ${array.length} ${kind} values`,
      );
    }
    unwrap((error) => native().cf_program_feed(this.#handle, port.index, array, BigInt(array.byteLength), error));
  }

  #fetch(name: string): Float32Array<ArrayBuffer> {
    const port = this.#fetches.get(name);
    if (!port) throw new UsageError(`fetch: expected one of ${[...this.#fetches.keys()].join(", ")}, found ${name}`);
    const data = new Float32Array(port.bytes / 4);
    unwrap((error) => native().cf_program_fetch(this.#handle, port.index, data, BigInt(data.byteLength), error));
    return data;
  }

  #checkOpen(): void {
    if (!this.#open) {
      throw new NativeError(STATUS.invalidArgument, "program", "expected an open program, found a closed one");
    }
  }

  /** Starts (true, from zero) or stops measuring each instruction. Throws NativeError while the program runs. */
  profile(enable: boolean): void {
    this.#checkOpen();
    unwrap((error) => native().cf_program_profile(this.#handle, enable ? 1 : 0, error));
  }

  /** Measurements since profiling began. Throws NativeError while the program runs. */
  profileReport(): Profile {
    this.#checkOpen();
    const entries: ProfileEntry[] = JSON.parse(
      readText((out, length, needed, error) =>
        native().cf_program_profile_report(this.#handle, out, length, needed, error)
      ),
    );
    const count = new BigUint64Array(1);
    const read = (out: BigUint64Array<ArrayBuffer> | null, capacity: bigint): void =>
      unwrap((error) => native().cf_program_profile_events(this.#handle, out, capacity, count, error));
    read(null, 0n);
    const words = new BigUint64Array(3 * Number(count[0]));
    read(words, count[0]!);
    const executions = Array.from({ length: words.length / 3 }, (_, k) => {
      const [index, begin, took] = words.subarray(3 * k, 3 * k + 3) as unknown as [bigint, bigint, bigint];
      return { index: Number(index), begin: 1e-9 * Number(begin), seconds: 1e-9 * Number(took) };
    });
    return { entries, executions };
  }

  /**
   * Has the runs from now on look at what each instruction writes (which up to doubles their time), or stops that. Throws NativeError while the
   * program runs.
   *
   * @returns whether the device can
   */
  watch(enable: boolean): boolean {
    this.#checkOpen();
    try {
      unwrap((error) => native().cf_program_watch(this.#handle, enable ? 1 : 0, error));
      return true;
    } catch (error) {
      if (error instanceof NativeError && error.code === STATUS.unsupported) return false;
      throw error;
    }
  }

  /** The first value that was not finite since watching began; `undefined`: all were. Throws NativeError while the program runs. */
  watchReport(): NotFinite | undefined {
    this.#checkOpen();
    const found: NotFinite | null = JSON.parse(
      readText((out, length, needed, error) =>
        native().cf_program_watch_report(this.#handle, out, length, needed, error)
      ),
    );
    return found ?? undefined;
  }

  /** Cancels a pending run and frees the program. Closing twice does nothing. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#forget();
    unwrap((error) => native().cf_program_destroy(this.#handle, error));
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
