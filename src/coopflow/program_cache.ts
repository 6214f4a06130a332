/** Compiled programs kept on disk between starts: planning a paper-size iteration takes seconds, reading it back none. */
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { compileGraph, type CompileOptions } from "../compile/compile.ts";
import { fingerprint } from "../compile/fingerprint.ts";
import { NativeError } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import { writeAtomic } from "../io/atomic.ts";
import { cacheFolder } from "../io/cache_folder.ts";
import type { Device } from "../runtime/device.ts";
import { STATUS } from "../runtime/library.ts";
import type { Program } from "../runtime/program.ts";

/** Raised when the compiler's output changes without the op table changing. */
const COMPILER_REVISION = 1;

/** Options of {@linkcode loadGraph}. */
export interface LoadOptions extends CompileOptions {
  /** Where programs are kept; `null` keeps none. Default: `COOPFLOW_CACHE`, else the user's cache folder. */
  readonly cache?: string | null;
  /** State that the device lacks becomes zeros instead of being refused. */
  readonly createMissing?: boolean;
}

/**
 * Compiles and loads, or loads what an earlier start compiled. An entry that the loader refuses is compiled anew and replaced; a cache that cannot
 * be written is done without.
 */
export async function loadGraph(device: Device, g: Graph, options: LoadOptions = {}): Promise<Program> {
  const { cache = cacheFolder(), createMissing = false, ...compile } = options;
  if (cache === null) return device.load(compileGraph(g, compile).bytes, { createMissing });
  const path = join(cache, `${fingerprint(g, compile, String(COMPILER_REVISION))}.cfp`);
  const found = await readFile(path).then((bytes) => new Uint8Array(bytes), () => undefined);
  if (found) {
    try {
      return device.load(found, { createMissing });
    } catch (error) {
      const stale = error instanceof NativeError &&
        (error.code === STATUS.invalidProgram || error.code === STATUS.versionMismatch);
      if (!stale) throw error;
    }
  }
  const { bytes } = compileGraph(g, compile);
  try {
    await mkdir(cache, { recursive: true });
    await writeAtomic(path, bytes);
  } catch {
    // A full or read-only disk costs the next start a few seconds, nothing else.
  }
  return device.load(bytes, { createMissing });
}
