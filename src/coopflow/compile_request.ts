/** Compiling off the main thread. */
import { Worker } from "node:worker_threads";
import type { DeviceCompileOptions } from "../runtime/device.ts";
import type { CachedProgram } from "./program_cache.ts";
import type { ProgramRequest } from "./program_request.ts";

/** What to compile, and for whom. */
export interface CompileWork {
  readonly request: ProgramRequest;
  readonly device: DeviceCompileOptions;
  /** Compile, whatever the cache holds. */
  readonly fresh: boolean;
}

/**
 * Builds and compiles a program in a thread of its own, or reads what an earlier start compiled: the caller's thread stays free, and what compiling
 * took in memory is given back (with V8's `--no-memory-pool-share-memory-on-teardown`, as in deno.json: otherwise its pages wait for the next thread).
 */
export async function compileRequest(work: CompileWork): Promise<CachedProgram> {
  const worker = new Worker(new URL("./compile_worker.ts", import.meta.url), { workerData: work });
  try {
    return await new Promise((resolve, reject) => {
      worker.once("message", resolve);
      worker.once("error", reject);
      worker.once(
        "exit",
        (code) => reject(new Error(`compile: expected a program, found the thread ended with ${code}`)),
      );
    });
  } finally {
    await worker.terminate();
  }
}
