/**
 * `deno task study ablation [FOLDER] [--iterations 850] [--seeds 3] [--threads 1] [--at-once 2]`: the paper's ablation on the built-in digits.
 * Trains each variant with each seed into FOLDER (default: runs/ablation), evaluates it, draws 64 of its images, and prints a table in Markdown.
 * What is finished there is not done again, and what was interrupted goes on. An hour of two cores.
 */
import { stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import type { Evaluation } from "../../src/coopflow/evaluation.ts";
import { readMetrics } from "../../src/coopflow/run_metrics.ts";
import { readRunState } from "../../src/coopflow/run_state.ts";
import { markdownTable, median } from "../../src/cli/text_table.ts";
import { run } from "../cli/support.ts";

const OPTIONS = {
  iterations: { type: "string", default: "850" },
  seeds: { type: "string", default: "3" },
  threads: { type: "string", default: "1" },
  "at-once": { type: "string", default: "2" },
} as const;

/** Generated images of each kind that are compared with the held-out digits. */
const IMAGES = 1500;

/**
 * CoopFlow(Pre)'s shares of the iterations: the flow alone, then both. They take as long as CoopFlow's: on one idle thread 0.104 s and 0.151 s (0.227 s
 * where the flow learns, 0.132 s where it does not) against 0.234 s.
 */
const PRETRAINED = 255 / 850, THEN = 1130 / 850;

/** T of the chains that every energy is judged by beside those it was trained with. */
const LONG_RUN = 200;

interface Settings {
  readonly folder: string;
  readonly iterations: number;
  readonly threads: number;
}

interface Variant {
  readonly name: string;
  readonly args: readonly string[];
  /** Share of the iterations that it learns. */
  readonly share: number;
  /** What begins it. */
  readonly from?: Variant;
  /** What it has: a flow that learns, images revised by a chain. */
  readonly has: { readonly flow: boolean; readonly chain: boolean };
}

const BOTH = { flow: true, chain: true };
const FLOW: Variant = { name: "flow", args: ["--phase", "flow"], share: 1, has: { flow: true, chain: false } };

/** The longest first. */
const VARIANTS: readonly Variant[] = [
  { name: "long", args: ["--preset", "digits-long"], share: 1, has: BOTH },
  { name: "coop", args: [], share: 1, has: BOTH },
  {
    name: "pre",
    args: ["--preset", "digits-pre"],
    share: THEN,
    from: { ...FLOW, name: "pre-flow", share: PRETRAINED },
    has: BOTH,
  },
  FLOW,
  { name: "ebm", args: ["--phase", "ebm"], share: 1, has: { flow: false, chain: true } },
];

/** What a row of the table is called, in the table's order. */
const TITLES: Readonly<Record<string, string>> = {
  flow: "flow alone",
  ebm: "EBM alone, chains from noise",
  coop: "CoopFlow",
  pre: "CoopFlow(Pre)",
  long: "CoopFlow(Long), T = 200",
};

interface Outcome {
  readonly seconds: number;
  readonly evaluation: Pick<Evaluation, "bitsPerDim" | "distances">;
  /** The same of images that {@linkcode LONG_RUN} steps have revised. */
  readonly longRun: Pick<Evaluation, "distances">;
}

async function command(args: readonly string[]): Promise<void> {
  const { code, err } = await run(Deno.cwd(), args);
  if (code !== 0) throw new Error(`${args.join(" ")} ended with ${code}: ${err.trim().split("\n").at(-1)}`);
}

function exists(path: string): Promise<boolean> {
  return stat(path).then(() => true, () => false);
}

/** Trains a variant to its end, whatever is there of it; the run's path and how long it has learnt. */
async function trained(variant: Variant, seed: number, settings: Settings): Promise<{ path: string; seconds: number }> {
  const { folder, iterations, threads } = settings;
  const begun = variant.from === undefined ? undefined : await trained(variant.from, seed, settings);
  const path = join(folder, `${variant.name}-${seed}`);
  if ((await readRunState(path))?.state !== "finished") {
    const fresh = [
      ...variant.args,
      ...["--seed", String(seed), "--iterations", String(Math.round(variant.share * iterations)), "--out", path],
      ...(begun === undefined ? [] : ["--init", begun.path]),
    ];
    const args = await exists(join(path, "config.json")) ? ["--resume", path] : fresh;
    console.error(`training ${path}`);
    await command(["train", ...args, "--threads", String(threads), "--quiet"]);
  }
  const { columns } = await readMetrics(join(path, "metrics.jsonl"));
  const [seconds = [], flowUpdated = []] = ["seconds", "flowUpdated"].map((name) => columns.get(name));
  const kinds = [0, 1].map((kind) => seconds.filter((_, i) => flowUpdated[i] === kind));
  return { path, seconds: kinds.reduce((sum, ofKind) => sum + undisturbed(ofKind), begun?.seconds ?? 0) };
}

/** The sum of the seconds of iterations of one kind, each the least of those around it: what else the machine does only ever adds. */
function undisturbed(seconds: readonly number[]): number {
  const around = 25;
  return seconds.reduce((sum, _, i) => sum + Math.min(...seconds.slice(Math.max(0, i - around), i + around + 1)), 0);
}

async function outcome(variant: Variant, seed: number, settings: Settings): Promise<Outcome> {
  const { path, seconds } = await trained(variant, seed, settings);
  const evaluation = await judged(path, "", variant.has.chain ? [] : ["--proposals"], settings);
  const longRun = variant.has.chain
    ? await judged(path, `-${LONG_RUN}`, ["--steps", String(LONG_RUN)], settings)
    : { distances: [] };
  return { seconds, evaluation, longRun };
}

/** Evaluates a run, and draws images of it, in files whose names end so. */
async function judged(
  path: string,
  ending: string,
  how: readonly string[],
  settings: Settings,
): Promise<Outcome["evaluation"]> {
  const [file, picture] = [join(path, `evaluation${ending}.json`), `${path}${ending}.png`];
  const threads = ["--threads", String(settings.threads)];
  if (!await exists(file)) {
    const steps = how.filter((argument) => argument !== "--proposals");
    const what = ["--metrics", "likelihood,distances", "--count", String(IMAGES), ...steps];
    await command(["evaluate", path, ...what, "--out", file, ...threads]);
  }
  if (!await exists(picture)) await command(["sample", path, "--count", "64", ...how, "--out", picture, ...threads]);
  return JSON.parse(await Deno.readTextFile(file));
}

/** Mean ± standard deviation over the seeds. */
function spread(values: readonly number[], digits: number): string {
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return `${mean.toFixed(digits)} ± ${Math.sqrt(squares / Math.max(1, values.length - 1)).toFixed(digits)}`;
}

function row(variant: Variant, outcomes: readonly Outcome[]): string[] {
  const { flow, chain } = variant.has;
  const figure = (has: boolean, digits: number, of: (found: Outcome) => number | undefined): string =>
    has ? spread(outcomes.map((found) => of(found) ?? NaN), digits) : "–";
  const distances = (name: string, digits: number): string[] => {
    const distance = ({ distances }: Outcome["longRun"], kind: string): number | undefined =>
      distances.find(({ names, generated }) => names.frechet === name && generated === kind)?.frechet?.value;
    return [
      figure(flow, digits, ({ evaluation }) => distance(evaluation, "proposals")),
      figure(chain, digits, ({ evaluation }) => distance(evaluation, "revised")),
      figure(chain, digits, ({ longRun }) => distance(longRun, "revised")),
    ];
  };
  return [
    TITLES[variant.name] ?? variant.name,
    `${(median(outcomes.map(({ seconds }) => seconds)) / 60).toFixed(1)} min`,
    figure(flow, 2, ({ evaluation }) => evaluation.bitsPerDim?.value),
    ...distances("Fréchet", 2),
    ...distances("digit-FID", 1),
  ];
}

const HEADER = [
  "",
  "learning",
  "bits/dim",
  "Fréchet of pixels: proposals",
  "revised",
  `by ${LONG_RUN} steps`,
  "digit-FID: proposals",
  "revised",
  `by ${LONG_RUN} steps`,
];

export async function main(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true });
  const numbers = Object.entries(values).map(([name, value]) => [name, Number(value)] as const);
  const wrong = numbers.find(([, value]) => !Number.isInteger(value) || value < 1);
  if (wrong !== undefined || positionals.length > 1) {
    const [name, found] = wrong ?? ["a folder", positionals.join(" ")];
    console.error(`ablation: expected whole numbers from 1 and at most one folder, found ${name}: ${found}`);
    return 2;
  }
  const { iterations = 0, seeds = 0, threads = 0, "at-once": atOnce = 0 } = Object.fromEntries(numbers);
  const settings: Settings = { folder: resolve(positionals[0] ?? "runs/ablation"), iterations, threads };
  await Deno.mkdir(settings.folder, { recursive: true });
  const jobs = VARIANTS.flatMap((variant) => Array.from({ length: seeds }, (_, seed) => ({ variant, seed })));
  const found = new Map<string, Outcome[]>(VARIANTS.map(({ name }) => [name, []]));
  const queue = jobs.values();
  const worker = async (): Promise<void> => {
    for (const { variant, seed } of queue) found.get(variant.name)!.push(await outcome(variant, seed, settings));
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  const rows = Object.keys(TITLES).map((name) => row(VARIANTS.find((v) => v.name === name)!, found.get(name)!));
  console.log(`${iterations} iterations, ${seeds} seeds, ${threads} threads; mean ± standard deviation over the seeds`);
  for (const line of markdownTable(HEADER, rows)) console.log(line);
  return 0;
}
