// The same model in PyTorch and here, in turn on this machine: times, peak memory, ratios, targets.
//
//   deno run -A scripts/compare_peer.ts [--columns digits-64,small-16,…] [--rounds 3] [--bf16] [--threads N] [--peer FILE] [--python FILE] [--out PREFIX]

import { mkdir } from "node:fs/promises";
import { cpus, release, totalmem, type } from "node:os";
import { dirname, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { median } from "../src/cli/text_table.ts";
import { NO_INSTALL_FLAG, REPOSITORY, setUp } from "./setup.ts";
import { tryCommand } from "./support/command.ts";
import {
  type Column,
  COLUMNS,
  compareRuns,
  type Comparison,
  comparisonLines,
  type RunReport,
} from "./support/comparison.ts";
import { runScript, SetupError } from "./support/setup_error.ts";

/** The version that the targets were set against. */
const TORCH = "2.11.0";

const HELP = `Usage: deno task compare [options]

Runs the PyTorch program and this one in turn and compares times and peak memory.

Options:
  --columns <list>  of ${COLUMNS.map(({ name }) => name).join(", ")} (default: all)
  --rounds <n>      how often both are run; medians count (default: 3)
  --bf16            also the chain against the peer in bfloat16, one repetition a round without warm-up
                    (slow on processors without bfloat16 products)
  --threads <n>     threads of both (default: one per physical core)
  --peer <file>     the PyTorch program (default: COOPFLOW_PEER, else ../shared/peer/torch_coopflow.py)
  --python <file>   a Python with torch ${TORCH} (default: COOPFLOW_PEER_PYTHON, else python3)
  --out <prefix>    writes PREFIX.json and PREFIX.md (default: runs/compare)

paper-16 takes 18 GB and minutes per iteration in PyTorch: there, one repetition without warm-up.
The exit code says whether everything ran; the table says which targets were met.

Example:
  deno task compare --columns digits-64,small-16 --rounds 5
`;

/** What to run. */
export interface CompareOptions {
  readonly columns: readonly Column[];
  readonly rounds: number;
  readonly bf16: boolean;
  readonly threads: number | undefined;
  readonly peer: string;
  readonly python: string;
  readonly out: string;
}

/** Options from arguments and environment; `undefined` when help was asked for. Throws SetupError on what it can't use. */
export function parseOptions(
  args: readonly string[],
  env: (name: string) => string | undefined,
): CompareOptions | undefined {
  const text = { type: "string" } as const, flag = { type: "boolean" } as const;
  const parse = () =>
    parseArgs({
      args: [...args],
      options: {
        columns: text,
        rounds: text,
        threads: text,
        peer: text,
        python: text,
        out: text,
        bf16: flag,
        help: { ...flag, short: "h" },
      },
    });
  let values: ReturnType<typeof parse>["values"];
  try {
    ({ values } = parse());
  } catch (error) {
    throw new SetupError(`compare: ${error instanceof Error ? error.message.split(". ")[0] : error}; see --help`);
  }
  if (values.help) return undefined;
  const whole = (name: "rounds" | "threads"): number | undefined => {
    const given = values[name];
    if (given === undefined || /^[1-9]\d{0,3}$/.test(given)) return given === undefined ? undefined : Number(given);
    throw new SetupError(
      `compare: --${name}: expected a whole number from 1 to 9999, found ${JSON.stringify(given)}`,
    );
  };
  const columns = values.columns?.split(",").map((name) => {
    const column = COLUMNS.find((known) => known.name === name.trim());
    if (column !== undefined) return column;
    const known = COLUMNS.map(({ name }) => name).join(", ");
    throw new SetupError(`compare: --columns: expected some of ${known}, found ${JSON.stringify(name)}`);
  });
  const python = values.python ?? env("COOPFLOW_PEER_PYTHON") ?? "python3";
  return {
    columns: columns ?? COLUMNS,
    rounds: whole("rounds") ?? 3,
    bf16: values.bf16 ?? false,
    threads: whole("threads"),
    peer: resolve(values.peer ?? env("COOPFLOW_PEER") ?? join(REPOSITORY, "../shared/peer/torch_coopflow.py")),
    // A name without a folder is looked up in PATH; a path is meant from here, not from where the programs run.
    python: python.includes("/") ? resolve(python) : python,
    out: values.out ?? join("runs", "compare"),
  };
}

/** Says what is missing before minutes are spent. Returns torch's version. */
async function checkPeer({ peer, python, columns }: CompareOptions): Promise<string> {
  if (!await Deno.stat(peer).then(({ isFile }) => isFile, () => false)) {
    throw new SetupError(
      `compare: expected the PyTorch program, found nothing at ${peer}; say where it is with --peer`,
    );
  }
  const found = await tryCommand(python, ["-c", "import torch; print(torch.__version__)"]);
  const version = found?.code === 0 ? found.stdout.trim() : undefined;
  if (version?.split("+")[0] !== TORCH) {
    throw new SetupError(
      `compare: expected torch ${TORCH} in ${python}, found ${version ?? "none"}; install it: ` +
        `python3 -m venv peer && peer/bin/pip install torch==${TORCH} numpy, then --python peer/bin/python`,
    );
  }
  const available = Deno.systemMemoryInfo().available / 1e9;
  const large = columns.find(({ memory }) => memory > available);
  if (large !== undefined) {
    const rest = COLUMNS.filter(({ memory }) => memory <= available).map(({ name }) => name).join(",");
    throw new SetupError(
      `compare: ${large.name}: expected ${large.memory} GB of free memory, found ${available.toFixed(1)}; ` +
        `choose --columns ${rest}`,
    );
  }
  return version;
}

/** Runs a program that ends its output with one line of JSON. */
async function report(program: string, args: readonly string[], threads: number): Promise<Record<string, unknown>> {
  const env = { OMP_NUM_THREADS: String(threads), NO_COLOR: "1" };
  const result = await tryCommand(program, args, { cwd: REPOSITORY, env });
  const last = result?.stdout.trim().split("\n").at(-1) ?? "";
  if (result?.code === 0 && last.startsWith("{")) return JSON.parse(last);
  const reason = result === undefined ? "no such program" : result.stderr.trim().split("\n").at(-1) ?? "";
  throw new SetupError(
    `compare: ${program} ${args.join(" ")}: expected a line of JSON, found exit code ${
      result?.code ?? "none"
    }: ${reason}`,
  );
}

function asRun(report: Record<string, unknown>): RunReport & Record<string, unknown> {
  return report as RunReport & Record<string, unknown>;
}

async function compare(options: CompareOptions): Promise<Comparison> {
  const torch = await checkPeer(options);
  const { buildInfo, Device } = await import("../src/runtime/device.ts");
  using device = Device.open({ threads: options.threads ?? 0 });
  const { threads, isa } = device.info;
  const gemm = await report(options.python, [options.peer, "gemm"], threads);
  const peaks: Record<string, number[]> = {};
  const columns = [];
  let program = "";
  for (const column of options.columns) {
    const { name, config, batch, reps, warmup } = column;
    const timing = (count: number, before: number): string[] => [
      ...["--config", config, "--batch", String(batch), "--steps", "30"],
      ...["--reps", String(count), "--warmup", String(before)],
    ];
    const ours: RunReport[] = [], peer: RunReport[] = [], bf16: RunReport[] = [];
    for (let round = 1; round <= options.rounds; round++) {
      console.error(`${name}: round ${round} of ${options.rounds}`);
      const theirs = (extra: readonly string[]) => report(options.python, [options.peer, "bench", ...extra], threads);
      peer.push(asRun(await theirs(timing(reps, warmup))));
      if (options.bf16) bf16.push(asRun(await theirs([...timing(1, 0), "--bf16"])));
      const bench = ["task", "--quiet", "bench", ...timing(reps, warmup), "--threads", String(threads), "--json"];
      const own = asRun(await report(Deno.execPath(), bench, threads));
      ours.push(own);
      program = String(own["program"]);
      for (const key of ["peak_gemm_one_thread_gflops", "peak_gemm_gflops", "peak_copy_gbs"]) {
        (peaks[key] ??= []).push(Number(own[key]));
      }
    }
    const runs = { ours, peer, bf16 };
    columns.push({ column, cells: compareRuns(column, runs), runs });
  }
  const processor = cpus()[0]?.model.trim() ?? "unknown processor";
  const peak = (key: string): number => median(peaks[key] ?? []);
  return {
    date: new Date().toISOString().slice(0, 10),
    machine:
      `${processor}, ${threads} threads, ${isa}, ${(totalmem() / 2 ** 30).toFixed(0)} GB, ${type()} ${release()}, ` +
      `oneDNN ${buildInfo().onednn}`,
    programs: [program, `torch ${torch}`],
    rounds: options.rounds,
    peaks: {
      gemm_one_thread: peak("peak_gemm_one_thread_gflops"),
      gemm: peak("peak_gemm_gflops"),
      gemm_peer: Number(gemm["gemm_gflops"]),
      copy: peak("peak_copy_gbs"),
    },
    columns,
  };
}

async function main(): Promise<number> {
  const args = Deno.args.filter((arg) => arg !== NO_INSTALL_FLAG);
  const options = parseOptions(args, (name) => Deno.env.get(name) || undefined);
  if (options === undefined) {
    console.log(HELP);
    return 0;
  }
  await setUp({ install: args.length === Deno.args.length, tests: false });
  const comparison = await compare(options);
  await mkdir(dirname(options.out), { recursive: true });
  await Deno.writeTextFile(`${options.out}.json`, `${JSON.stringify(comparison, null, 2)}\n`);
  await Deno.writeTextFile(`${options.out}.md`, `${comparisonLines(comparison, true).join("\n")}\n`);
  for (const line of comparisonLines(comparison, false)) console.log(line);
  console.log(`\nwritten to ${options.out}.json and ${options.out}.md`);
  return 0;
}

if (import.meta.main) await runScript(main);
