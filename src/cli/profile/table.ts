/** A profile as text. */
import type { Profile } from "../../runtime/program.ts";
import { textTable } from "../text_table.ts";
import { type Group, groupBy, kindOf, layerOf, totalOf } from "./group.ts";
import { type Peaks, peaksLine } from "./peaks.ts";

/** Rows of a table; what is left becomes one more. */
const ROWS = 20;
const HEADER = ["", "ms", "share", "calls", "GFLOP/s", "of peak", "MB", "GB/s", "of peak"];

function row({ name, seconds, calls, flops, bytes }: Group, total: number, peaks: Peaks): string[] {
  const percent = (part: number): string => `${(100 * part).toFixed(1)} %`;
  const gflops = flops / seconds / 1e9, gigabytes = bytes / seconds / 1e9;
  return [
    name,
    (1000 * seconds).toFixed(2),
    percent(seconds / total),
    String(calls),
    gflops.toFixed(1),
    percent(gflops / peaks.gemm),
    (bytes / 1e6).toFixed(1),
    gigabytes.toFixed(1),
    percent(gigabytes / peaks.copy),
  ];
}

/** Lines of the tables by layer, kind of layer, operation and instruction. Times are those of `runs` runs together. */
export function profileLines({ entries }: Profile, runs: number, peaks: Peaks): string[] {
  const lines: string[] = [];
  const add = (title: string, groups: readonly Group[]): void => {
    const total = totalOf(groups);
    const shown = groups.slice(0, ROWS), rest = groups.slice(ROWS);
    const more = rest.length === 0 ? [] : [{ ...totalOf(rest), name: `${rest.length} more` }];
    const rows = [...shown, ...more, total].map((group) => row(group, total.seconds, peaks));
    lines.push("", ...textTable([title, ...HEADER.slice(1)], rows));
  };
  add("by layer", groupBy(entries, ({ name }) => layerOf(name)));
  add("by kind of layer", groupBy(entries, ({ name }) => kindOf(name)));
  add("by operation", groupBy(entries, ({ op }) => op));
  add("by instruction", groupBy(entries, ({ index, op, name }) => `${index} ${op} ${name}`));
  return [
    ...lines.slice(1),
    "",
    `${runs === 1 ? "one run" : `${runs} runs together`}; peaks: ${peaksLine(peaks)}`,
    "convolutions count as direct ones, so Winograd can pass the peak; what stays in the caches can pass the copy's GB/s",
  ];
}
