// The same model in PyTorch and here, in turn on this machine: times, peak memory, ratios, targets.
//
//   deno run -A scripts/compare_peer.ts [--columns digits-64,small-16,…] [--rounds 3] [--bf16] [--threads N] [--peer FILE] [--python FILE] [--out PREFIX]

import { mkdir } from "node:fs/promises";
import { cpus, release, totalmem, type } from "node:os";
import { dirname, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { z } from "zod";
import { median } from "../src/cli/text_table.ts";
import type { DeviceInfo } from "../src/runtime/device.ts";
import { NO_INSTALL_FLAG, REPOSITORY, setUp } from "./setup.ts";
import { tryCommand } from "./support/command.ts";
import {
  type Column,
  COLUMNS,
  type ComparedColumn,
  compareRuns,
  type Comparison,
  comparisonLines,
  OWN_REPORT,
  type OwnReport,
  RUN_REPORT,
  type RunReport,
} from "./support/comparison.ts";
import { runScript, SetupError, WrongUsage } from "./support/setup_error.ts";

/** The version that the targets were set against. */
const TORCH = "2.11.0";

const HELP = `Usage: deno task compare [options]

Runs the PyTorch program and this one in turn and compares times and peak memory.

Options:
  --columns <list>  of ${COLUMNS.map(({ name }) => name).join(", ")} (default: all)
  --rounds <n>      how often both are run; medians count (default: 3)
  --bf16            also the chain against the peer in bfloat16, one repetition a round (slow on
                    processors without bfloat16 products)
  --threads <n>     threads of both (default: one per physical core)
  --peer <file>     the PyTorch program (default: COOPFLOW_PEER, else ../shared/peer/torch_coopflow.py)
  --python <file>   a Python with torch ${TORCH} (default: COOPFLOW_PEER_PYTHON, else python3)
  --out <prefix>    writes PREFIX.json and PREFIX.md (default: runs/compare)

paper-16 takes 18 GB and minutes per iteration in PyTorch: there, one repetition a round.
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

/** Options from arguments and environment; `undefined` when help was asked for. Throws WrongUsage on what it can't use. */
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
    throw new WrongUsage(`compare: ${error instanceof Error ? error.message.split(". ")[0] : error}; see --help`);
  }
  if (values.help) return undefined;
  const whole = (name: "rounds" | "threads"): number | undefined => {
    const given = values[name];
    if (given === undefined || /^[1-9]\d{0,3}$/.test(given)) return given === undefined ? undefined : Number(given);
    throw new WrongUsage(
      `compare: --${name}: expected a whole number from 1 to 9999, found ${JSON.stringify(given)}`,
    );
  };
  const columns = values.columns?.split(",").map((name) => {
    const column = COLUMNS.find((known) => known.name === name.trim());
    if (column !== undefined) return column;
    const known = COLUMNS.map(({ name }) => name).join(", ");
    throw new WrongUsage(`compare: --columns: expected some of ${known}, found ${JSON.stringify(name)}`);
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

/** Runs a program that ends its output with one line of JSON. Throws SetupError when that is not the report that was expected. */
async function report<T>(program: string, args: readonly string[], threads: number, schema: z.ZodType<T>): Promise<T> {
  const env = { OMP_NUM_THREADS: String(threads), NO_COLOR: "1" };
  const result = await tryCommand(program, args, { cwd: REPOSITORY, env });
  const what = `compare: ${program} ${args.join(" ")}`;
  const last = result?.stdout.trim().split("\n").at(-1) ?? "";
  if (result?.code !== 0 || !last.startsWith("{")) {
    const reason = result === undefined ? "no such program" : result.stderr.trim().split("\n").at(-1) ?? "";
    throw new SetupError(`${what}: expected a line of JSON, found exit code ${result?.code ?? "none"}: ${reason}`);
  }
  const parsed = schema.safeParse(JSON.parse(last));
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new SetupError(`${what}: expected a report, found ${issue?.path.join(".")}: ${issue?.message}`);
}

/** Runs before those that count: the first touch of gigabytes takes seconds on a virtual machine, whoever's they are. */
const WARMUP = 1;

const GEMM = z.object({ gemm_gflops: z.number().positive() });

/** Both programs on one column, in turn. */
async function runColumn({ name, config, batch, reps }: Column, threads: number, options: CompareOptions) {
  const timing = (count: number): string[] => [
    ...["--config", config, "--batch", String(batch), "--steps", "30"],
    ...["--reps", String(count), "--warmup", String(WARMUP)],
  ];
  const peer = (extra: readonly string[]): Promise<RunReport> =>
    report(options.python, [options.peer, "bench", ...extra], threads, RUN_REPORT);
  const bench = ["task", "--quiet", "bench", ...timing(reps), "--threads", String(threads), "--json"];
  const runs: { ours: OwnReport[]; peer: RunReport[]; bf16: RunReport[] } = { ours: [], peer: [], bf16: [] };
  for (let round = 1; round <= options.rounds; round++) {
    console.error(`${name}: round ${round} of ${options.rounds}`);
    runs.peer.push(await peer(timing(reps)));
    if (options.bf16) runs.bf16.push(await peer([...timing(1), "--bf16"]));
    runs.ours.push(await report(Deno.execPath(), bench, threads, OWN_REPORT));
  }
  return runs;
}

/** Threads and instruction set that this program takes. */
async function ownDevice(options: CompareOptions): Promise<DeviceInfo> {
  // The library is there only after the set-up.
  const { Device } = await import("../src/runtime/device.ts");
  using device = Device.open({ threads: options.threads ?? 0 });
  return device.info;
}

async function compare(options: CompareOptions): Promise<Comparison> {
  const torch = await checkPeer(options);
  const { threads, isa } = await ownDevice(options);
  const gemm = await report(options.python, [options.peer, "gemm"], threads, GEMM);
  const columns: ComparedColumn[] = [];
  for (const column of options.columns) {
    const runs = await runColumn(column, threads, options);
    columns.push({ column, cells: compareRuns(column, runs), runs });
  }
  const ours = columns.flatMap(({ runs }) => runs.ours);
  const peak = (pick: (report: OwnReport) => number): number => median(ours.map(pick));
  const processor = cpus()[0]?.model.trim() ?? "unknown processor";
  const memory = `${(totalmem() / 2 ** 30).toFixed(0)} GB`;
  return {
    date: new Date().toISOString().slice(0, 10),
    machine: `${processor}, ${threads} threads, ${isa}, ${memory}, ${type()} ${release()}`,
    programs: [ours[0]?.program ?? "", `torch ${torch}`],
    rounds: options.rounds,
    peaks: {
      gemm_one_thread: peak((report) => report.peak_gemm_one_thread_gflops),
      gemm: peak((report) => report.peak_gemm_gflops),
      gemm_peer: gemm.gemm_gflops,
      copy: peak((report) => report.peak_copy_gbs),
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
