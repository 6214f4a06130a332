// Builds the native library and its tests with sanitizers, and runs under them each native test and two programs of a small model: an iteration and samples.
//
//   deno run -A scripts/sanitize.ts [address] [thread]     without a name: both
//
// address: AddressSanitizer and UndefinedBehaviorSanitizer, with the usual compiler. thread: ThreadSanitizer, with clang++ and its OpenMP runtime, whose tool
// "archer" tells the sanitizer about the runtime's barriers.

import { join } from "node:path";
import { compileGraph } from "../src/compile/compile.ts";
import { parseConfig } from "../src/coopflow/config.ts";
import { learnProgram, sampleProgram } from "../src/coopflow/model_programs.ts";
import { presets } from "../src/coopflow/presets.ts";
import { REPOSITORY } from "./setup.ts";
import { logExcerpt, runLogged, tryCommand } from "./support/command.ts";
import { BuildError, runScript, SetupError, WrongUsage } from "./support/setup_error.ts";

const HELP = `Usage: deno task sanitize [address] [thread]

Builds the native library with sanitizers; runs its tests and two programs under them

Example:
  deno task sanitize address`;

const NAMES = ["address", "thread"] as const;
type Name = typeof NAMES[number];

interface Sanitizer {
  readonly cmake: readonly string[];
  readonly env: Record<string, string>;
}

/** libarcher.so lies beside clang's own folder of libraries. */
async function archer(): Promise<string> {
  const found = await tryCommand("clang++", ["-print-resource-dir"]);
  const path = found === undefined ? "" : join(found.stdout.trim(), "../../libarcher.so");
  if (path !== "" && await Deno.stat(path).then(() => true, () => false)) return path;
  throw new SetupError(
    `sanitize: expected ${found === undefined ? "clang++" : path} for "thread", found none; ` +
      "install with: apt-get install -y --no-install-recommends clang libclang-rt-dev libomp-dev",
  );
}

const SANITIZERS: Readonly<Record<Name, () => Promise<Sanitizer>>> = {
  address: () =>
    Promise.resolve({
      cmake: ["-DCOOPFLOW_SANITIZE=address,undefined"],
      env: { ASAN_OPTIONS: "detect_stack_use_after_return=1" },
    }),
  thread: async () => ({
    cmake: ["-DCMAKE_C_COMPILER=clang", "-DCMAKE_CXX_COMPILER=clang++", "-DCOOPFLOW_SANITIZE=thread"],
    // oneDNN and the OpenMP runtime are not instrumented: what they do to memory is left out.
    env: { OMP_TOOL_LIBRARIES: await archer(), TSAN_OPTIONS: "ignore_noninstrumented_modules=1" },
  }),
};

/** One learning iteration and one batch of samples, with every op that models use. */
async function writePrograms(folder: string): Promise<string[]> {
  const { data, flow, energy } = presets.digits;
  const config = parseConfig({
    data,
    flow: { ...flow, dropout: 0.2 },
    energy,
    langevin: { steps: 2 },
    training: { batch: 8, initialisationImages: 8 },
  });
  const programs = { learn: learnProgram(config), sample: sampleProgram(config, {}, false) };
  return await Promise.all(
    Object.entries(programs).map(async ([name, { graph }]) => {
      const path = join(folder, `${name}.program`);
      await Deno.writeFile(path, compileGraph(graph).bytes);
      return path;
    }),
  );
}

/** Builds and runs all; returns how many runs failed. */
async function sanitize(name: Name): Promise<number> {
  const { cmake, env } = await SANITIZERS[name]();
  const build = join(REPOSITORY, "native/build/sanitize", name);
  const log = join(build, "build.log");
  await Deno.mkdir(build, { recursive: true });
  await Deno.writeTextFile(log, "");
  console.log(`${name}: building (minutes, the first time)…`);
  const steps = [
    ["-S", join(REPOSITORY, "native"), "-B", build, "-DCOOPFLOW_TESTS=ON", ...cmake],
    ["--build", build, "--parallel", String(navigator.hardwareConcurrency)],
  ];
  for (const step of steps) {
    if (await runLogged(log, "cmake", step) !== 0) throw new BuildError(`${await logExcerpt(log, 60)}\n\nsee ${log}`);
  }

  const folder = join(build, "tests");
  const tests = [...Deno.readDirSync(folder)].map((entry) => entry.name).filter((file) => file.startsWith("test_"));
  const programs = await writePrograms(folder);
  const runs = [
    ...tests.sort().map((test) => [test]),
    ...programs.map((path) => ["run_program", path, "--threads", "2", "--runs", "2"]),
  ];
  let failed = 0;
  for (const [program = "", ...args] of runs) {
    const result = await tryCommand(join(folder, program), args, { env: { OMP_NUM_THREADS: "2", ...env } });
    const ok = result?.code === 0;
    console.log(`${name}: ${[program, ...args].join(" ")}: ${ok ? "ok" : "FAILED"}`);
    if (ok) continue;
    failed++;
    console.log(`${result?.stdout ?? ""}${result?.stderr ?? "could not be started"}`);
  }
  return failed;
}

async function main(): Promise<number> {
  const unknown = Deno.args.find((arg) => !NAMES.some((name) => name === arg));
  if (unknown !== undefined) {
    throw new WrongUsage(`sanitize: expected ${NAMES.join(" or ")}, found ${JSON.stringify(unknown)}`);
  }
  let failed = 0;
  for (const name of NAMES) if (Deno.args.length === 0 || Deno.args.includes(name)) failed += await sanitize(name);
  console.log(failed === 0 ? "sanitizers found nothing" : `${failed} runs FAILED`);
  return failed === 0 ? 0 : 1;
}

await runScript(main, HELP);
