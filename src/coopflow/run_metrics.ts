/** Reading `metrics.jsonl`. */
import { createReadStream } from "node:fs";
import { open } from "node:fs/promises";
import { createInterface } from "node:readline";
import { DataError } from "../errors.ts";
import { parsedLine } from "../io/json_lines.ts";
import { systemCode, systemReason } from "../io/system_error.ts";

/** A warning that the log holds. */
export interface LoggedWarning {
  readonly iteration: number;
  readonly message: string;
  readonly advice: string;
}

/** A log, column by column. */
export interface RunMetrics {
  readonly iterations: readonly number[];
  /** Figures of each iteration by name; NaN where there is none. Conditions are 0 or 1. */
  readonly columns: ReadonlyMap<string, readonly number[]>;
  readonly warnings: readonly LoggedWarning[];
}

type Line = Readonly<Record<string, unknown>>;

/**
 * Reads a log; one that is missing counts as empty, and a last line that is torn is left out.
 *
 * @throws {DataError} if it can't be read
 */
export async function readMetrics(path: string): Promise<RunMetrics> {
  const iterations: number[] = [];
  const columns = new Map<string, number[]>();
  const warnings: LoggedWarning[] = [];
  try {
    for await (const text of createInterface({ input: createReadStream(path, "utf8"), crlfDelay: Infinity })) {
      const line = parsedLine(text);
      if (line === undefined) continue;
      const { iteration } = line;
      if (typeof iteration !== "number") continue;
      if ("warning" in line) {
        warnings.push({ iteration, message: String(line["message"]), advice: String(line["advice"]) });
        continue;
      }
      for (const [name, value] of Object.entries(line)) {
        if (name === "iteration" || typeof value === "string" || typeof value === "object" && value !== null) continue;
        let column = columns.get(name);
        if (column === undefined) columns.set(name, column = []);
        while (column.length < iterations.length) column.push(NaN);
        column.push(value === null ? NaN : Number(value));
      }
      iterations.push(iteration);
    }
  } catch (error) {
    if (systemCode(error) !== "ENOENT") {
      throw new DataError(`cannot read ${path}: ${systemReason(error)}`, { cause: error });
    }
  }
  for (const column of columns.values()) while (column.length < iterations.length) column.push(NaN);
  return { iterations, columns, warnings };
}

/** More than the last few lines take. */
const TAIL_BYTES = 16384;

/** The figures of the last iteration of a log, without reading all of it; `undefined` if there is none. */
export async function readLastMetrics(path: string): Promise<Line | undefined> {
  try {
    await using file = await open(path, "r");
    const { size } = await file.stat();
    const bytes = new Uint8Array(Math.min(size, TAIL_BYTES));
    await file.read(bytes, 0, bytes.length, size - bytes.length);
    const lines = new TextDecoder().decode(bytes).split("\n").map(parsedLine);
    return lines.findLast((line) =>
      line !== undefined && typeof line["iteration"] === "number" && !("warning" in line)
    );
  } catch (error) {
    if (systemCode(error) === "ENOENT") return undefined;
    throw new DataError(`cannot read ${path}: ${systemReason(error)}`, { cause: error });
  }
}
