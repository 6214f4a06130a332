/** Compiled programs kept on disk between starts: planning a paper-size iteration takes seconds, reading it back none. */
import { createHash } from "node:crypto";
import { mkdir, readdir, readFile } from "node:fs/promises";
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
import { LIBRARY_VERSION } from "./version.ts";

/**
 * What makes programs: the release, and in a checkout what its compiler's sources hold, so that an edited compiler never reads what it wrote before.
 *
 * @param sources the folder of the rooms
 */
export async function compilerIdentity(sources: URL = new URL("../", import.meta.url)): Promise<string> {
  const hash = createHash("sha256").update(LIBRARY_VERSION);
  if (sources.protocol === "file:") {
    for (const room of ["graph", "compile"]) {
      for (const name of (await readdir(new URL(room, sources))).sort()) {
        hash.update(`${name}\0`).update(await readFile(new URL(`${room}/${name}`, sources)));
      }
    }
  }
  return hash.digest("hex");
}

let identity: Promise<string> | undefined;

/** Options of {@linkcode cachedProgram}. */
export interface CacheOptions extends CompileOptions {
  /** Where programs are kept; `null` keeps none. Default: `COOPFLOW_CACHE`, else the user's cache folder. */
  readonly cache?: string | null;
  /** Compile even if there is an entry, and replace it. */
  readonly fresh?: boolean;
}

/** A program's bytes, and whether an earlier start compiled them. */
export interface CachedProgram {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly found: boolean;
}

/** Options of {@linkcode loadGraph}. */
export interface LoadOptions extends Omit<CacheOptions, "fresh"> {
  /** State that the device lacks becomes zeros instead of being refused. */
  readonly createMissing?: boolean;
}

/** Compiles, or reads what an earlier start compiled. A cache that cannot be written is done without. */
export async function cachedProgram(g: Graph, options: CacheOptions = {}): Promise<CachedProgram> {
  const { cache = cacheFolder(), fresh = false, ...compile } = options;
  if (cache === null) return { bytes: compileGraph(g, compile).bytes, found: false };
  identity ??= compilerIdentity();
  const path = join(cache, `${fingerprint(g, compile, await identity)}.cfp`);
  const entry = fresh ? undefined : await readFile(path).catch(() => undefined);
  if (entry) return { bytes: new Uint8Array(entry), found: true };
  const { bytes } = compileGraph(g, compile);
  try {
    await mkdir(cache, { recursive: true });
    await writeAtomic(path, bytes);
  } catch {
    // A full or read-only disk costs the next start a few seconds, nothing else.
  }
  return { bytes, found: false };
}

/** Loads what `program` gives; an entry of the cache that the loader refuses is asked for once more, `fresh`. */
export async function loadCached(
  device: Device,
  program: (fresh: boolean) => Promise<CachedProgram>,
  options: { readonly createMissing?: boolean } = {},
): Promise<Program> {
  const { bytes, found } = await program(false);
  try {
    return device.load(bytes, options);
  } catch (error) {
    const stale = error instanceof NativeError &&
      (error.code === STATUS.invalidProgram || error.code === STATUS.versionMismatch);
    if (!found || !stale) throw error;
  }
  return device.load((await program(true)).bytes, options);
}

/** Compiles a graph and loads it, by way of the cache. */
export function loadGraph(device: Device, g: Graph, options: LoadOptions = {}): Promise<Program> {
  const { createMissing = false, ...rest } = options;
  return loadCached(device, (fresh) => cachedProgram(g, { ...device.compileOptions, ...rest, fresh }), {
    createMissing,
  });
}
