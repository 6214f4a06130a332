/** Finding and opening libcoopflow. Nothing is opened when this module is imported. */
import { fileURLToPath } from "node:url";
import { NativeError } from "../errors.ts";
import { ABI_VERSION } from "../compile/opcodes.ts";

const SYMBOLS = {
  cf_abi_version: { parameters: [], result: "u32" },
  cf_build_info: { parameters: ["buffer", "u64", "buffer", "buffer"], result: "i32" },
  cf_context_create: { parameters: ["buffer", "i32", "i32", "u32", "buffer", "buffer"], result: "i32" },
  cf_context_destroy: { parameters: ["u64", "buffer"], result: "i32" },
  cf_context_info: { parameters: ["u64", "buffer", "u64", "buffer", "buffer"], result: "i32" },
  cf_context_cancel: { parameters: ["u64", "buffer"], result: "i32" },
  cf_context_progress: { parameters: ["u64", "buffer", "buffer"], result: "i32" },
  cf_state_set: { parameters: ["u64", "buffer", "u32", "buffer", "u32", "buffer", "u64", "buffer"], result: "i32" },
  cf_state_get: { parameters: ["u64", "buffer", "buffer", "u64", "buffer"], result: "i32" },
  cf_state_remove: { parameters: ["u64", "buffer", "buffer"], result: "i32" },
  cf_state_list: { parameters: ["u64", "buffer", "u64", "buffer", "buffer"], result: "i32" },
  cf_program_load: { parameters: ["u64", "buffer", "u64", "u32", "buffer", "buffer"], result: "i32" },
  cf_program_destroy: { parameters: ["u64", "buffer"], result: "i32" },
  cf_program_info: { parameters: ["u64", "buffer", "u64", "buffer", "buffer"], result: "i32" },
  cf_program_feed: { parameters: ["u64", "u32", "buffer", "u64", "buffer"], result: "i32" },
  cf_program_fetch: { parameters: ["u64", "u32", "buffer", "u64", "buffer"], result: "i32" },
  cf_program_run: { parameters: ["u64", "pointer"], result: "i32", nonblocking: true },
  cf_program_profile: { parameters: ["u64", "u32", "buffer"], result: "i32" },
  cf_program_profile_report: { parameters: ["u64", "buffer", "u64", "buffer", "buffer"], result: "i32" },
  cf_program_profile_events: { parameters: ["u64", "buffer", "u64", "buffer", "buffer"], result: "i32" },
  cf_program_watch: { parameters: ["u64", "u32", "buffer"], result: "i32" },
  cf_program_watch_report: { parameters: ["u64", "buffer", "u64", "buffer", "buffer"], result: "i32" },
  cf_uniforms: { parameters: ["u64", "u32", "u32", "u32", "buffer", "buffer"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

/** Status codes that this side gives a meaning to: cf_status in coopflow.h has the same values. */
export const STATUS = {
  invalidArgument: 1,
  invalidProgram: 2,
  versionMismatch: 3,
  outOfMemory: 4,
  cancelled: 5,
  unsupported: 6,
} as const;

/** The C functions. */
export type Native = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];

/** Where the build puts the library; `COOPFLOW_LIBRARY` names another. */
export function libraryPath(): string {
  const chosen = Deno.env.get("COOPFLOW_LIBRARY");
  if (chosen) return chosen;
  const name = Deno.build.os === "darwin" ? "libcoopflow.dylib" : "libcoopflow.so";
  return fileURLToPath(new URL(`../../native/build/Release/${name}`, import.meta.url));
}

// One open library per process: it is never closed (closing one whose worker threads run would crash), and opening it twice would double nothing.
let opened: Native | undefined;

/**
 * Opens the native library once. Throws NativeError when it is missing or was built for another version.
 */
export function native(): Native {
  if (opened) return opened;
  const path = libraryPath();
  // libgomp, whose threads oneDNN uses for direct convolutions, reads this once, when it is loaded. By default waiting threads spin for milliseconds, which on a
  // busy machine takes the very core that the awaited thread needs: a step then takes a hundred times as long.
  if (Deno.env.get("GOMP_SPINCOUNT") === undefined && Deno.env.get("OMP_WAIT_POLICY") === undefined) {
    Deno.env.set("GOMP_SPINCOUNT", "2000"); // about 50 µs
  }
  let found: number;
  let symbols: Native | undefined;
  try {
    // The version first: a library of another one may lack the other functions.
    const { symbols: only } = Deno.dlopen(path, { cf_abi_version: SYMBOLS.cf_abi_version });
    found = only.cf_abi_version();
    if (found === ABI_VERSION) symbols = Deno.dlopen(path, SYMBOLS).symbols;
  } catch (cause) {
    if (cause instanceof Deno.errors.NotCapable) throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new NativeError(
      STATUS.invalidArgument,
      "load",
      `expected the native library at ${path}, found none that loads (${reason}); run "deno task build"`,
    );
  }
  if (symbols === undefined) {
    throw new NativeError(
      STATUS.versionMismatch,
      "load",
      `expected a native library of ABI ${ABI_VERSION}, found ABI ${found} at ${path}; run "deno task build"`,
    );
  }
  opened = symbols;
  return symbols;
}

const ERROR_BYTES = 4 + 32 + 512;

/** Room for one cf_error. */
export class ErrorRoom {
  readonly bytes: Uint8Array<ArrayBuffer> = new Uint8Array(ERROR_BYTES);

  /** Throws the NativeError that a failed call left here. */
  unwrap(status: number): void {
    if (status === 0) return;
    const text = (from: number, to: number): string => {
      const part = this.bytes.subarray(from, to);
      const end = part.indexOf(0);
      return new TextDecoder().decode(end < 0 ? part : part.subarray(0, end));
    };
    throw new NativeError(status, text(4, 36), text(36, ERROR_BYTES));
  }
}

/** Calls `f` with room for an error and throws what it reports. */
export function unwrap(f: (error: Uint8Array<ArrayBuffer>) => number): void {
  const room = new ErrorRoom();
  room.unwrap(f(room.bytes));
}

/** Text from a function that writes into a caller's buffer. */
export function readText(
  f: (
    out: Uint8Array<ArrayBuffer> | null,
    length: bigint,
    needed: BigUint64Array<ArrayBuffer>,
    error: Uint8Array<ArrayBuffer>,
  ) => number,
): string {
  const needed = new BigUint64Array(1);
  unwrap((error) => f(null, 0n, needed, error));
  const out = new Uint8Array(Number(needed[0]));
  unwrap((error) => f(out, BigInt(out.length), needed, error));
  return new TextDecoder().decode(out.subarray(0, out.length - 1));
}

/** A zero-terminated string. */
export function cString(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text + "\0");
}
