// Which compiler, which oneDNN and which CUDA toolkit this machine has.

import { join } from "node:path";
import { cacheFolder } from "../../src/io/cache_folder.ts";
import { tryCommand } from "./command.ts";

const FLAG_VARIABLES = [
  ...["CFLAGS", "CXXFLAGS", "LDFLAGS", "DNNL_ROOT"],
  ...["COOPFLOW_CUDA_PATH", "CUDA_HOME", "CUDA_PATH"],
];

/** The C++ compiler that CMake will take; CXX may carry arguments ("ccache g++"). */
export function compilerCommand(): { program: string; args: string[] } {
  const [program = "c++", ...args] = (Deno.env.get("CXX") ?? "").split(/\s+/).filter((word) => word !== "");
  return { program, args };
}

/** oneDNN's version as the compiler sees it; `undefined` without oneDNN's headers or without a compiler. */
export async function dnnlVersion(): Promise<string | undefined> {
  const root = Deno.env.get("DNNL_ROOT");
  const include = root === undefined ? [] : [`-I${root}/include`];
  const { program, args } = compilerCommand();
  const result = await tryCommand(program, [...args, ...include, "-E", "-dM", "-x", "c++", "-"], {
    stdin: "#include <oneapi/dnnl/dnnl_version.h>\n",
  });
  if (result === undefined || result.code !== 0) return undefined;
  const number = (part: string) => new RegExp(`#define DNNL_VERSION_${part} (\\d+)`).exec(result.stdout)?.[1] ?? "?";
  return ["MAJOR", "MINOR", "PATCH"].map(number).join(".");
}

/** The toolkit that nvcc on PATH belongs to, and the one that scripts/cuda_toolkit.sh installed: "none" without either. */
async function cudaToolkit(): Promise<string> {
  const cache = cacheFolder();
  const [nvcc, installed] = await Promise.all([
    tryCommand("nvcc", ["--version"]),
    cache === null ? "" : Deno.readTextFile(join(cache, "cuda-toolkit", "packages.txt")).catch(() => ""),
  ]);
  const versions = [nvcc?.stdout.trim().split("\n").at(-1) ?? "", installed.trim().split("\n").join(" ")];
  return versions.filter((version) => version !== "").join(", ") || "none";
}

/**
 * One line that changes whenever a library built before might not fit any more, or more could be built: compiler, flags,
 * oneDNN (whose shared library has another name in each major version), CUDA. `undefined` when there is no compiler.
 */
export async function toolchainVersion(): Promise<string | undefined> {
  const { program, args } = compilerCommand();
  const [compiler, dnnl, cuda] = await Promise.all([
    tryCommand(program, [...args, "--version"]),
    dnnlVersion(),
    cudaToolkit(),
  ]);
  if (compiler === undefined) return undefined;
  const flags = FLAG_VARIABLES.map((name) => `${name}=${Deno.env.get(name) ?? ""}`);
  return [compiler.stdout.split("\n")[0], `oneDNN ${dnnl ?? "none"}`, `CUDA ${cuda}`, Deno.build.arch, ...flags]
    .join("; ");
}
