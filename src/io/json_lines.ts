/** Files of one JSON object per line: what a run logs. */

import { open, readFile } from "node:fs/promises";
import { CoopFlowError, DataError } from "../errors.ts";
import { writeAtomic } from "./atomic.ts";
import { systemCode, systemReason } from "./system_error.ts";

/** A value that JSON can hold. Numbers that are not finite are written as null. */
export type JsonValue =
  | string
  | number
  | boolean
  | null
  | readonly JsonValue[]
  | { readonly [key: string]: JsonValue | undefined };

/**
 * Appends one line to a file, creating it if need be. The line goes out in one write, so that readers see it whole.
 *
 * @param options.sync wait until the line is on disk (slow: for lines that must survive a power cut)
 * @throws {CoopFlowError} naming path and reason
 */
export async function appendJsonLine(
  path: string,
  value: { readonly [key: string]: JsonValue | undefined },
  options: { readonly sync?: boolean } = {},
): Promise<void> {
  const line = JSON.stringify(value) + "\n";
  try {
    const file = await open(path, "a");
    try {
      await file.appendFile(line);
      if (options.sync === true) await file.sync();
    } finally {
      await file.close();
    }
  } catch (error) {
    throw new CoopFlowError(`cannot append to ${path}: ${systemReason(error)}`, { cause: error });
  }
}

/**
 * Cuts a log back to what it held after iteration `last`: lines whose `iteration` is greater go, and so does a last
 * line that a killed process left torn. A line without an `iteration` stays with the line before it. The file is
 * replaced atomically, and left alone if nothing has to go; a missing file counts as empty.
 *
 * @returns how many lines were kept and how many removed
 * @throws {DataError} naming the line if one before the last is no JSON object
 */
export async function cutJsonLines(path: string, last: number): Promise<{ kept: number; removed: number }> {
  const text = await readText(path);
  const lines = text.split("\n");
  // A complete file ends in a newline, so what follows the last one is nothing, or torn.
  const torn = lines.pop() ?? "";
  const kept: string[] = [];
  let keep = true;
  for (const [index, line] of lines.entries()) {
    if (line === "") continue;
    const iteration = iterationOf(line, `${path}, line ${index + 1}`);
    if (iteration !== undefined) keep = iteration <= last;
    if (keep) kept.push(line);
  }
  const result = kept.map((line) => line + "\n").join("");
  if (result !== text) await writeAtomic(path, new TextEncoder().encode(result));
  const total = lines.filter((line) => line !== "").length + (torn === "" ? 0 : 1);
  return { kept: kept.length, removed: total - kept.length };
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (systemCode(error) === "ENOENT") return "";
    throw new DataError(`cannot read ${path}: ${systemReason(error)}`, { cause: error });
  }
}

function iterationOf(line: string, place: string): number | undefined {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (error) {
    throw new DataError(`${place}: expected a JSON object, found ${excerpt(line)}; mend or remove the line`, {
      cause: error,
    });
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new DataError(`${place}: expected a JSON object, found ${excerpt(line)}; mend or remove the line`);
  }
  return "iteration" in value && typeof value.iteration === "number" ? value.iteration : undefined;
}

/** The object of a line; `undefined` of one that is torn, while it is written or by a kill. */
export function parsedLine(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? value as Readonly<Record<string, unknown>> : undefined;
  } catch {
    return undefined;
  }
}

function excerpt(line: string): string {
  return JSON.stringify(line.length > 40 ? line.slice(0, 40) + "…" : line);
}
