// Builds native/ with cmake-js when its content, or what it is built with, has changed since the last build.

import { join } from "node:path";
import { logExcerpt, runLogged } from "./command.ts";
import { hashFiles, listFiles } from "./content_hash.ts";
import { withFileLock } from "./file_lock.ts";
import { findMissing, installMissing } from "./packages.ts";
import { BuildError, SetupError } from "./setup_error.ts";
import { toolchainVersion } from "./toolchain.ts";

export interface BuildOptions {
  /** The repository: the folder that has native/, package.json and deno.json. */
  readonly root: string;
  /** Whether to build native/tests too. */
  readonly tests: boolean;
  /** Whether missing packages may be installed. */
  readonly install: boolean;
  /** Shows one line to the person who waits. */
  readonly say: (line: string) => void;
}

/** What a finished build was made from; stored beside it. */
interface Stamp {
  /** CMake's cache holds absolute paths: a repository that was moved is built anew. */
  readonly root: string;
  readonly toolchain: string;
  /** Hash of the library's sources. */
  readonly library: string;
  /** Hash of native/tests, when they were built. */
  readonly tests?: string;
}

interface BuildPaths {
  readonly native: string;
  readonly build: string;
  readonly stamp: string;
  readonly log: string;
  readonly lock: string;
  readonly library: string;
}

/** Where things are; the log and the lock are outside of native/build, which is removed for a build from scratch. */
export function buildPaths(root: string): BuildPaths {
  const native = join(root, "native");
  const build = join(native, "build");
  const name = Deno.build.os === "darwin" ? "libcoopflow.dylib" : "libcoopflow.so";
  return {
    native,
    build,
    stamp: join(build, "stamp.json"),
    log: join(native, "build.log"),
    lock: join(native, "build.lock"),
    library: join(build, "Release", name),
  };
}

/** Makes sure that the native library is there and up to date. */
export async function ensureNativeLibrary(options: BuildOptions): Promise<"cached" | "built"> {
  const paths = buildPaths(options.root);
  if (await isCurrent(options, paths)) return "cached";
  const onWait = () => options.say("waiting for another build of the native library to end…");
  return await withFileLock(paths.lock, onWait, async () => {
    if (await isCurrent(options, paths)) return "cached"; // the one that we waited for made it
    await Deno.writeTextFile(paths.log, "");
    const missing = await findMissing();
    if (missing.length > 0) await installMissing(missing, { ...options, log: paths.log, allowed: options.install });
    await build(options, paths);
    return "built";
  });
}

async function isCurrent(options: BuildOptions, paths: BuildPaths): Promise<boolean> {
  const [stamp, wanted, found] = await Promise.all([
    readStamp(paths.stamp),
    makeStamp(options),
    Deno.stat(paths.library).catch(() => undefined),
  ]);
  if (stamp === undefined || found === undefined || stamp.root !== wanted.root || stamp.library !== wanted.library) {
    return false;
  }
  if (options.tests && stamp.tests !== wanted.tests) return false;
  // Without a compiler there is nothing better to build: a library brought along ready-made is taken as it is.
  return wanted.toolchain === "none" || stamp.toolchain === wanted.toolchain;
}

async function makeStamp({ root, tests }: BuildOptions): Promise<Stamp> {
  const [toolchain, files] = await Promise.all([
    toolchainVersion(),
    listFiles(join(root, "native"), (path) => !/^build|\.md$|\.log$/.test(path)),
  ]);
  const isTest = (path: string) => path.startsWith("tests/");
  const paths = (selected: readonly string[]) => ["package.json", ...selected.map((path) => `native/${path}`)];
  const library = await hashFiles(root, paths(files.filter((path) => !isTest(path))));
  return {
    root: await Deno.realPath(root),
    toolchain: toolchain ?? "none",
    library,
    ...(tests ? { tests: await hashFiles(root, paths(files.filter(isTest))) } : {}),
  };
}

async function readStamp(path: string): Promise<Partial<Stamp> | undefined> {
  try {
    const stamp: unknown = JSON.parse(await Deno.readTextFile(path));
    return typeof stamp === "object" && stamp !== null ? stamp : undefined;
  } catch {
    return undefined; // none, or cut off: build
  }
}

async function build(options: BuildOptions, paths: BuildPaths): Promise<void> {
  const { root, say } = options;
  const stamp = await makeStamp(options);
  await discardForeignBuild(stamp, paths);
  await Deno.remove(paths.stamp).catch(() => {}); // until this build is complete there is none

  const cores = navigator.hardwareConcurrency;
  const what = options.tests ? "the native library and its tests" : "the native library";
  say(`building ${what} (about ${await estimateSeconds(paths.native, options.tests, cores)} s, once)…`);
  const begin = performance.now();
  const configure = ["configure", `--CDCOOPFLOW_TESTS=${options.tests ? "ON" : "OFF"}`];
  const dnnlRoot = Deno.env.get("DNNL_ROOT");
  if (dnnlRoot !== undefined) configure.push(`--CDDNNL_ROOT=${dnnlRoot}`);
  const cmakeJs = `npm:cmake-js@${await cmakeJsVersion(root)}`;
  for (const step of [configure, ["build", "--parallel", String(cores)]]) {
    const args = ["run", "-A", cmakeJs, ...step, "--directory", "native"];
    const code = await runLogged(paths.log, Deno.execPath(), args, { cwd: root, env: { NO_COLOR: "1" } });
    if (code !== 0) {
      const excerpt = await logExcerpt(paths.log, 60);
      throw new BuildError(
        `${excerpt}\n\ncoopflow set-up: building native/ failed (exit code ${code}); the whole log is ${paths.log}`,
      );
    }
  }
  if (await Deno.stat(paths.library).catch(() => undefined) === undefined) {
    throw new SetupError(`coopflow set-up: the build ended well but left no ${paths.library}; see ${paths.log}`);
  }
  await Deno.writeTextFile(paths.stamp, JSON.stringify(stamp, null, 2) + "\n");
  say(`built in ${Math.round((performance.now() - begin) / 1000)} s`);
}

/** Removes native/build when another place or another compiler made it: CMake's cache would hold on to the old ones. */
async function discardForeignBuild(stamp: Stamp, paths: BuildPaths): Promise<void> {
  const origin = join(paths.build, "origin.json");
  const wanted = JSON.stringify({ root: stamp.root, toolchain: stamp.toolchain });
  const found = await Deno.readTextFile(origin).catch(() => undefined);
  if (found === wanted) return;
  await Deno.remove(paths.build, { recursive: true }).catch(() => {});
  await Deno.mkdir(paths.build, { recursive: true });
  await Deno.writeTextFile(origin, wanted);
}

/** The version that package.json pins. */
async function cmakeJsVersion(root: string): Promise<string> {
  const path = join(root, "package.json");
  const json: { dependencies?: Record<string, string> } = JSON.parse(await Deno.readTextFile(path));
  const version = json.dependencies?.["cmake-js"];
  if (version === undefined) throw new SetupError(`${path}: expected "cmake-js" among the dependencies, found none`);
  return version;
}

/** A rough guess for the line that asks for patience: so many seconds for each file that is compiled. */
async function estimateSeconds(native: string, tests: boolean, cores: number): Promise<number> {
  const SECONDS_PER_FILE = 2;
  const files = await listFiles(native, (path) => !/^build/.test(path) && (tests || !path.startsWith("tests")));
  const compiled = files.filter((path) => path.endsWith(".cpp"));
  const kernels = compiled.filter((path) => path.startsWith("src/cpu/kernels/")); // compiled three times
  const seconds = 5 + (compiled.length + 2 * kernels.length) * SECONDS_PER_FILE / cores;
  return seconds < 20 ? Math.ceil(seconds) : Math.ceil(seconds / 10) * 10;
}
