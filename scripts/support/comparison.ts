// The arithmetic of the comparison with the same model in another program: medians, ratios, targets, tables.

import { z } from "zod";
import { markdownTable, median, textTable } from "../../src/cli/text_table.ts";

const AMOUNT = z.number().positive();

/** One program's report: the fields that are compared, among others. */
export const RUN_REPORT = z.object({
  flow_sample_s: AMOUNT,
  langevin_s: AMOUNT,
  flow_update_s: AMOUNT,
  ebm_update_s: AMOUNT,
  iteration_s: AMOUNT,
  peak_host_mb: AMOUNT,
});
export type RunReport = Readonly<z.infer<typeof RUN_REPORT>>;

/** What is compared. */
export type Measure = keyof RunReport;
const MEASURES = Object.keys(RUN_REPORT.shape) as Measure[];

/** What this program's report has besides. */
export const OWN_REPORT = RUN_REPORT.extend({
  program: z.string(),
  peak_gemm_one_thread_gflops: AMOUNT,
  peak_gemm_gflops: AMOUNT,
  peak_copy_gbs: AMOUNT,
});
export type OwnReport = Readonly<z.infer<typeof OWN_REPORT>>;

/** Rows of the table: measures, and the chain against the other program's bfloat16. */
export type Row = Measure | "langevin_bf16_s";

export const ROW_NAMES: Readonly<Record<Row, string>> = {
  flow_sample_s: "flow sample",
  langevin_s: "30 Langevin steps",
  flow_update_s: "flow update",
  ebm_update_s: "EBM update",
  iteration_s: "whole iteration",
  peak_host_mb: "peak memory",
  langevin_bf16_s: "30 Langevin steps, peer in bf16",
};

/** A preset and batch, how both programs are timed on it, and the ratios (peer / ours) that are aimed at. */
export interface Column {
  readonly name: string;
  readonly config: "digits" | "small" | "paper";
  readonly batch: number;
  readonly reps: number;
  /** Main memory that the peer takes, in GB. */
  readonly memory: number;
  readonly targets: Readonly<Partial<Record<Row, number>>>;
}

const targets = (
  flow_sample_s: number,
  langevin_s: number,
  flow_update_s: number,
  ebm_update_s: number,
  iteration_s: number,
  peak_host_mb: number,
): Readonly<Record<Measure, number>> => (
  { flow_sample_s, langevin_s, flow_update_s, ebm_update_s, iteration_s, peak_host_mb }
);

export const COLUMNS: readonly Column[] = [
  { name: "digits-64", config: "digits", batch: 64, reps: 15, memory: 1, targets: targets(6, 5, 5, 4, 5, 4) },
  { name: "small-16", config: "small", batch: 16, reps: 3, memory: 5, targets: targets(10, 5, 10, 4, 9, 5) },
  {
    name: "paper-4",
    config: "paper",
    batch: 4,
    reps: 1,
    memory: 7,
    targets: { ...targets(6, 2.4, 5, 2.2, 3.5, 4), langevin_bf16_s: 1.4 },
  },
  {
    name: "paper-16",
    config: "paper",
    batch: 16,
    // An iteration of the peer takes minutes.
    reps: 1,
    memory: 18,
    targets: { ...targets(6, 3, 6, 2.5, 4.5, 5), langevin_bf16_s: 1.4 },
  },
];

/** One row of one column. */
export interface Cell {
  readonly ours: number;
  readonly peer: number;
  /** peer / ours: how many times faster, or smaller. */
  readonly ratio: number;
  readonly target: number | null;
  readonly passed: boolean | null;
}

/** What both programs reported, a round each. */
export interface Runs {
  readonly ours: readonly OwnReport[];
  readonly peer: readonly RunReport[];
  /** The peer in bfloat16; none if it was not run so. */
  readonly bf16: readonly RunReport[];
}

/** All rows of a column. */
export function compareRuns({ targets }: Column, { ours, peer, bf16 }: Runs): Partial<Record<Row, Cell>> {
  const cell = (row: Row, measure: Measure, others: readonly RunReport[]): Cell => {
    const [a, b] = [ours, others].map((runs) => median(runs.map((run) => run[measure]))) as [number, number];
    const ratio = b / a, target = targets[row] ?? null;
    return { ours: a, peer: b, ratio, target, passed: target === null ? null : ratio >= target };
  };
  return {
    ...Object.fromEntries(MEASURES.map((measure) => [measure, cell(measure, measure, peer)])),
    ...(bf16.length === 0 ? {} : { langevin_bf16_s: cell("langevin_bf16_s", "langevin_s", bf16) }),
  };
}

/** A column's rows, and what they were made from. */
export interface ComparedColumn {
  readonly column: Column;
  readonly cells: Partial<Record<Row, Cell>>;
  readonly runs: Runs;
}

/** A finished comparison. */
export interface Comparison {
  readonly date: string;
  readonly machine: string;
  readonly programs: readonly [ours: string, peer: string];
  readonly rounds: number;
  /** GFLOP/s of a matrix product on one thread, on all, as the peer measures it on all, and GB/s of a copy. */
  readonly peaks: Readonly<Record<"gemm_one_thread" | "gemm" | "gemm_peer" | "copy", number>>;
  readonly columns: readonly ComparedColumn[];
}

function amount(row: Row, value: number): string {
  return row === "peak_host_mb" ? `${value.toFixed(0)} MB` : `${value.toPrecision(3)} s`;
}

function cellText(row: Row, cell: Cell | undefined): string {
  if (cell === undefined) return "–";
  const { ours, peer, ratio, target, passed } = cell;
  const verdict = passed === null ? "" : ` (≥ ${target}: ${passed ? "pass" : "FAIL"})`;
  return `${amount(row, ours)} / ${amount(row, peer)} = ${ratio.toFixed(2)}×${verdict}`;
}

/** The comparison as lines of text, or of Markdown. */
export function comparisonLines(comparison: Comparison, markdown: boolean): string[] {
  const { date, machine, programs, rounds, peaks, columns } = comparison;
  const rows = (Object.keys(ROW_NAMES) as Row[]).filter((row) => columns.some(({ cells }) => cells[row]));
  const header = ["ours / peer = ratio (target)", ...columns.map(({ column }) => column.name)];
  const body = rows.map((row) => [ROW_NAMES[row], ...columns.map(({ cells }) => cellText(row, cells[row]))]);
  return [
    `${programs.join(" against ")}, ${date}`,
    "",
    machine,
    "",
    `Measured peaks: matrix product ${peaks.gemm_one_thread.toFixed(0)} GFLOP/s on one thread, ${
      peaks.gemm.toFixed(0)
    } on all (peer: ${peaks.gemm_peer.toFixed(0)}), copy ${peaks.copy.toFixed(1)} GB/s.`,
    "",
    ...(markdown ? markdownTable(header, body) : textTable(header, body)),
    "",
    `Medians of ${rounds} ${rounds === 1 ? "round" : "rounds"}, both programs in turn.`,
  ];
}
