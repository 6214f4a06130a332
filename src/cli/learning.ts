/** How learning went, from a run's metrics. */
import { open } from "node:fs/promises";
import { DataError } from "../errors.ts";
import { systemCode, systemReason } from "../io/system_error.ts";

/** Means over some iterations in a row. */
export interface Learning {
  /** First and last iteration. */
  readonly from: number;
  readonly to: number;
  /** Root mean square of what the chain changes proposals by. */
  readonly change: number;
  readonly fProposal: number;
  readonly fRevised: number;
  readonly fData: number;
}

/** Rows of a summary. */
const ROWS = 10;
const NAMES = ["change", "fProposal", "fRevised", "fData"] as const;

/**
 * Means over about ten equal parts of the iterations.
 *
 * @returns undefined if there is no such file
 * @throws {DataError} naming the line if one is something else
 */
export async function learningOf(path: string): Promise<Learning[] | undefined> {
  const rows: { iteration: number; values: number[] }[] = [];
  try {
    await using file = await open(path);
    for await (const line of file.readLines()) {
      if (line !== "") rows.push(rowOf(line, `${path}, line ${rows.length + 1}`));
    }
  } catch (error) {
    if (error instanceof DataError) throw error;
    if (systemCode(error) === "ENOENT") return undefined;
    throw new DataError(`cannot read ${path}: ${systemReason(error)}`, { cause: error });
  }
  const parts = Math.min(ROWS, rows.length);
  return Array.from({ length: parts }, (_, k) => {
    const part = rows.slice(Math.round(k * rows.length / parts), Math.round((k + 1) * rows.length / parts));
    const [change, fProposal, fRevised, fData] = NAMES.map((_, i) =>
      part.reduce((sum, { values }) => sum + values[i]!, 0) / part.length
    ) as [number, number, number, number];
    return { from: part[0]!.iteration, to: part.at(-1)!.iteration, change, fProposal, fRevised, fData };
  });
}

function rowOf(line: string, place: string): { iteration: number; values: number[] } {
  const value: unknown = parsed(line);
  const fields = typeof value === "object" && value !== null ? value as Record<string, unknown> : {};
  const [iteration, ...values] = ["iteration", ...NAMES].map((name) => fields[name]);
  const numbers = values.map((found) => typeof found === "number" ? found : NaN);
  if (typeof iteration !== "number") {
    throw new DataError(`${place}: expected an iteration's metrics; mend or remove it`);
  }
  return { iteration, values: numbers };
}

function parsed(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined; // torn by a kill
  }
}
