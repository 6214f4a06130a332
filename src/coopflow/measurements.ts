/** `measurements.jsonl`: what a run measured of itself on held-out images as it learnt. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { DataError } from "../errors.ts";
import { parsedLine } from "../io/json_lines.ts";
import { systemCode, systemReason } from "../io/system_error.ts";
import { MEASURED, type Measured } from "./metric_names.ts";

/** One measurement; the smaller the value, the better. */
export interface Measurement {
  readonly iteration: number;
  readonly metric: Measured;
  readonly value: number;
}

/** The file in a run's directory. */
export function measurementsPath(run: string): string {
  return join(run, "measurements.jsonl");
}

/**
 * The measurements of a run in the order in which they were made; none if there is no file. A last line that is torn, and values that are not
 * finite, are left out.
 *
 * @throws {DataError} if the file can't be read
 */
export async function readMeasurements(run: string): Promise<Measurement[]> {
  const path = measurementsPath(run);
  const text = await readFile(path, "utf8").catch((error: unknown) => {
    if (systemCode(error) === "ENOENT") return "";
    throw new DataError(`cannot read ${path}: ${systemReason(error)}`, { cause: error });
  });
  return text.split("\n").flatMap((line) => {
    const { iteration, metric, value } = parsedLine(line) ?? {};
    if (typeof iteration !== "number" || typeof value !== "number") return [];
    const known = MEASURED.find((name) => name === metric);
    return known === undefined ? [] : [{ iteration, metric: known, value }];
  });
}

/** The first of the smallest by the metric that was measured last; `undefined` of none. */
export function bestOf(measurements: readonly Measurement[]): Measurement | undefined {
  const metric = measurements.at(-1)?.metric;
  return measurements.reduce<Measurement | undefined>((best, found) => {
    const isBetter = found.metric === metric && found.value < (best?.value ?? Infinity);
    return isBetter ? found : best;
  }, undefined);
}
