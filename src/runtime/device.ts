/** A device context: threads, named state and memory. Programs run on it. */
import { NativeError, UsageError } from "../errors.ts";
import { chosenPrecision, type ComputedIn, type Precision, type PrecisionChoice } from "./precision.ts";
import { cString, native, readText, STATUS, unwrap } from "./library.ts";
import { Program } from "./program.ts";
import { streamHash } from "../random.ts";

export type { Precision } from "./precision.ts";

/** Instruction sets, best first. */
export type Isa = "avx512" | "amx" | "avx2" | "portable";

/** `auto` takes the first GPU, or the CPU where none can be used; `cuda` is `cuda:0`. */
export type DeviceName = "auto" | "cpu" | "cuda" | `cuda:${number}`;

/** How to open a device. */
export interface DeviceOptions {
  /** Default: `auto`. */
  readonly device?: DeviceName;
  /** Default: float32, exact; `tf32` and `bf16` need a GPU; `auto` takes what is fastest. */
  readonly precision?: Precision;
  /** Threads; 0 = one per physical core. */
  readonly threads?: number;
  /** Forces an instruction set (otherwise the best, or what `COOPFLOW_ISA` says). */
  readonly isa?: Isa;
}

/** Of an object that has more, what says how to open a device. */
export function deviceOptions(given: DeviceOptions): DeviceOptions {
  const { device, precision, threads, isa } = given;
  return {
    ...(device === undefined ? {} : { device }),
    ...(precision === undefined ? {} : { precision }),
    ...(threads === undefined ? {} : { threads }),
    ...(isa === undefined ? {} : { isa }),
  };
}

/** What the context says of itself. */
export interface DeviceInfo {
  readonly device: string;
  /** The device in words. */
  readonly detail: string;
  /** With `auto`: why it is this one. */
  readonly reason?: string;
  readonly precision: ComputedIn;
  /** With precision `auto`: why it is this one. */
  readonly precisionReason?: string;
  readonly threads: number;
  /** The CPU's instruction set; `cuda` on a GPU. */
  readonly isa: Isa | "cuda";
  /** Whether programs may use Winograd's algorithm: it is float32's. */
  readonly winograd: boolean;
  readonly arena_bytes: number;
  readonly scratch_bytes: number;
  readonly state_bytes: number;
  /** Most memory that a GPU held for this device; 0 on the CPU. */
  readonly device_peak_bytes: number;
  /** Memory of the GPU, and how much of it is free; 0 on the CPU. */
  readonly device_bytes: number;
  readonly device_free_bytes: number;
  /** What the last program needed for which memory was too small; 0 if there was none. */
  readonly refused_bytes: number;
}

/** What a device asks of programs: options of the compiler. */
export interface DeviceCompileOptions {
  /** Whether Winograd's algorithm may be used. */
  readonly winograd: boolean;
  /** Whether the processor multiplies tiles of bfloat16 (default: no). */
  readonly tiles?: boolean;
}

/** A named state tensor. */
export interface StateInfo {
  readonly name: string;
  readonly shape: readonly number[];
}

/** Progress of the current or last run. */
export interface Progress {
  readonly run: number;
  readonly done: number;
  readonly total: number;
  readonly committing: boolean;
}

const ISA_CODES: Readonly<Record<Isa, number>> = { portable: 0, avx2: 1, avx512: 2, amx: 3 };

const PRECISION_FLAGS: Readonly<Record<ComputedIn, number>> = { float32: 0, tf32: 2, bf16: 4 };

/** What was chosen, and why. */
interface DeviceChoice extends PrecisionChoice {
  /** With device `auto`. */
  readonly reason?: string;
}

function checkOptions({ device = "auto", threads = 0 }: DeviceOptions): void {
  if (!Number.isInteger(threads) || threads < 0 || threads > 1024) {
    throw new UsageError(`threads: expected a whole number from 0 to 1024, found ${threads}`);
  }
  if (!isDeviceName(device)) throw new UsageError(`device: expected auto, cpu, cuda or cuda:number, found ${device}`);
}

/** Whether a text names a device. */
export function isDeviceName(name: string): name is DeviceName {
  return /^(auto|cpu|cuda(:\d{1,3})?)$/.test(name);
}

/** Version, instruction sets and libraries of the native build. */
export function buildInfo(): { version: string; onednn: string; compiler: string; isa: Isa[] } {
  const lib = native();
  return JSON.parse(readText((out, length, needed, error) => lib.cf_build_info(out, length, needed, error)));
}

/**
 * Owns a native context. Close it, or declare it with `using`. Closing cancels what runs.
 * Throws NativeError for anything the native side refuses.
 */
export class Device implements Disposable {
  readonly #handle: bigint;
  readonly #programs = new Set<Program>();
  #open = true;

  readonly #choice: DeviceChoice;

  private constructor(handle: bigint, choice: DeviceChoice) {
    this.#handle = handle;
    this.#choice = choice;
  }

  /**
   * Opens a device.
   *
   * @throws {UsageError} for options out of range
   * @throws {NativeError} when the library, the device or the instruction set is missing
   */
  static open(options: DeviceOptions = {}): Device {
    checkOptions(options);
    const { device = "auto" } = options;
    if (device !== "auto") return Device.#openNamed(device, options);
    if (options.isa) return Device.#openNamed("cpu", options, "it has the instruction set");
    try {
      return Device.#openNamed("cuda", options, "a GPU is there");
    } catch (error) {
      if (!(error instanceof NativeError) || error.code !== STATUS.unsupported) throw error;
      // The rest of the sentence says what to do about it.
      return Device.#openNamed("cpu", options, error.message.replace(/;.*/s, ""));
    }
  }

  static #openNamed(name: Exclude<DeviceName, "auto">, options: DeviceOptions, reason?: string): Device {
    const { threads = 0, isa, precision = "float32" } = options;
    const choice = { ...chosenPrecision(name, precision), ...(reason === undefined ? {} : { reason }) };
    const out = new BigUint64Array(1);
    const flags = PRECISION_FLAGS[choice.precision];
    unwrap((error) => native().cf_context_create(cString(name), threads, isa ? ISA_CODES[isa] : -1, flags, out, error));
    return new Device(out[0]!, choice);
  }

  /** The native handle, for programs of this room. Throws NativeError after close(). */
  get handle(): bigint {
    if (!this.#open) {
      throw new NativeError(STATUS.invalidArgument, "device", "expected an open device, found a closed one");
    }
    return this.#handle;
  }

  /** Threads, instruction set and memory. */
  get info(): DeviceInfo {
    const info: Omit<DeviceInfo, keyof DeviceChoice> = JSON.parse(
      readText((out, length, needed, error) => native().cf_context_info(this.handle, out, length, needed, error)),
    );
    return { ...info, ...this.#choice };
  }

  /** How programs for this device have to be compiled. */
  get compileOptions(): DeviceCompileOptions {
    const { winograd, isa } = this.info;
    return { winograd, tiles: isa === "amx" };
  }

  /** Creates or overwrites a state tensor; without data: by zeros. */
  setState(name: string, data: Float32Array<ArrayBuffer> | undefined, shape: readonly number[]): void {
    const elements = shape.reduce((product, size) => product * size, 1);
    unwrap((error) =>
      native().cf_state_set(
        this.handle,
        cString(name),
        0,
        Uint32Array.from(shape),
        shape.length,
        data ?? null,
        BigInt(data?.byteLength ?? 4 * elements),
        error,
      )
    );
  }

  /** Copies a state tensor out. */
  getState(name: string, size: number): Float32Array<ArrayBuffer> {
    const data = new Float32Array(size);
    this.readState(name, data);
    return data;
  }

  /** Copies a state tensor into `data`, which must be of its size. */
  readState(name: string, data: Float32Array<ArrayBuffer>): void {
    unwrap((error) => native().cf_state_get(this.handle, cString(name), data, BigInt(data.byteLength), error));
  }

  /** The same draws as `uniforms` of `random.ts`, thirty times as fast. */
  uniforms(seed: number, stream: string, n: number): Float32Array<ArrayBuffer> {
    const draws = new Float32Array(n);
    unwrap((error) => native().cf_uniforms(this.handle, seed, streamHash(stream), n, draws, error));
    return draws;
  }

  /** Frees a state tensor that no program uses. */
  removeState(name: string): void {
    unwrap((error) => native().cf_state_remove(this.handle, cString(name), error));
  }

  /** All state tensors, sorted by name. */
  listState(): StateInfo[] {
    return JSON.parse(
      readText((out, length, needed, error) => native().cf_state_list(this.handle, out, length, needed, error)),
    );
  }

  /** Loads a program. `createMissing`: state that the device lacks is created as zeros instead of being refused. */
  load(bytes: Uint8Array<ArrayBuffer>, options: { createMissing?: boolean } = {}): Program {
    // An empty buffer reaches the native side as NULL, which it takes for a caller's mistake.
    if (bytes.length === 0) {
      throw new NativeError(STATUS.invalidProgram, "decode", "expected a program, found no bytes");
    }
    const out = new BigUint64Array(1);
    unwrap((error) =>
      native().cf_program_load(this.handle, bytes, BigInt(bytes.length), options.createMissing ? 1 : 0, out, error)
    );
    const program = new Program(out[0]!, () => this.#programs.delete(program));
    this.#programs.add(program);
    return program;
  }

  /** Asks what runs and what waits to stop; their promises reject with CancelledError. Returns at once. */
  cancel(): void {
    unwrap((error) => native().cf_context_cancel(this.handle, error));
  }

  /** Where the current run is. */
  progress(): Progress {
    const out = new BigUint64Array(4);
    unwrap((error) => native().cf_context_progress(this.handle, out, error));
    return { run: Number(out[0]), done: Number(out[1]), total: Number(out[2]), committing: out[3] !== 0n };
  }

  /** Cancels, closes all programs, frees everything. Closing twice does nothing. */
  close(): void {
    if (!this.#open) return;
    for (const program of [...this.#programs]) program.close();
    this.#open = false;
    unwrap((error) => native().cf_context_destroy(this.#handle, error));
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
