/** Compares what this library computes with tensors that the reference program made. */
import { DataError } from "../../errors.ts";
import { systemReason } from "../../io/system_error.ts";
import { kindOf } from "./cases.ts";
import { compare, type Comparison, worst } from "./compare.ts";
import { type Execute, SkippedCase } from "./execute.ts";
import type { ComputedIn } from "../../runtime/precision.ts";
import { Golden } from "./golden.ts";
import { toleranceIn } from "./tolerances.ts";

/** One case of a folder: a file, or several that share the name before the first dot. */
export interface CaseFile {
  readonly name: string;
  readonly path: string;
}

/** Outcome of one case. */
export type CaseResult =
  | { readonly status: "passed"; readonly name: string; readonly worst: Comparison }
  | { readonly status: "failed"; readonly name: string; readonly reason: string }
  | { readonly status: "skipped"; readonly name: string; readonly reason: string };

/** Files of a golden folder that are no cases. */
const NOT_CASES = ["README.md", "index.json"];

/**
 * The cases of a folder, by name.
 *
 * @throws {DataError} if the folder can't be read or has no case
 */
export async function listCases(dir: string): Promise<CaseFile[]> {
  const files: string[] = [];
  try {
    for await (const entry of Deno.readDir(dir)) {
      if (!entry.isDirectory && !NOT_CASES.includes(entry.name)) files.push(entry.name);
    }
  } catch (error) {
    throw new DataError(
      `${dir}: expected a folder of golden tensors, found ${systemReason(error)}`,
    );
  }
  const cases = new Map<string, CaseFile>();
  for (const file of files.sort()) {
    const name = file.slice(0, file.indexOf(".") > 0 ? file.indexOf(".") : undefined);
    // checkpoint.pth.tar stands beside the safetensors file with what it holds.
    if (!cases.has(name) || file.endsWith(".safetensors")) cases.set(name, { name, path: `${dir}/${file}` });
  }
  if (cases.size === 0) throw new DataError(`${dir}: expected golden files (*.safetensors), found none`);
  return [...cases.values()];
}

/** Kinds of cases that amplify rounding without bound, or are of so many layers that less than float32 says little. */
const FLOAT32_ONLY: readonly string[] = ["langevin", "learning", "paper", "reconstruct"];

/** Runs one case, computed in `precision`. Whatever goes wrong is a failure of this case only. */
export async function runCase(
  { name, path }: CaseFile,
  execute: Execute,
  precision: ComputedIn = "float32",
): Promise<CaseResult> {
  const found = kindOf(name);
  if (!found) return { status: "failed", name, reason: "expected a case of a known kind, found none of this name" };
  if (precision !== "float32" && FLOAT32_ONLY.includes(found.kind)) {
    return { status: "skipped", name, reason: "compared in float32 only" };
  }
  try {
    if (!path.endsWith(".safetensors")) throw new DataError(`expected a safetensors file, found ${path}`);
    const golden = await Golden.read(name, path);
    const comparisons = (await found.run(golden, execute))
      .map((check) => compare({ ...check, tolerance: toleranceIn(precision, check.tolerance) }));
    const furthest = worst(comparisons);
    if (!furthest) throw new DataError("expected tensors to compare, found none");
    if (furthest.ratio > 1) return { status: "failed", name, reason: explain(comparisons) };
    if (golden.unread.length > 0) {
      throw new DataError(`expected every tensor to be compared, found unknown ${golden.unread.join(", ")}`);
    }
    return { status: "passed", name, worst: furthest };
  } catch (error) {
    if (error instanceof SkippedCase) return { status: "skipped", name, reason: error.message };
    return { status: "failed", name, reason: error instanceof Error ? error.message : String(error) };
  }
}

function explain(comparisons: readonly Comparison[]): string {
  const bad = comparisons.filter((c) => c.ratio > 1).sort((a, b) => b.ratio - a.ratio);
  const first = bad[0]!;
  const others = bad.length > 1 ? `; ${bad.length - 1} more of ${comparisons.length} tensors` : "";
  return `${first.name}: ${short(first.error)} over ${
    short(first.limit)
  } (at ${first.at}: expected ${first.expected}, found ${first.found})${others}`;
}

function short(value: number): string {
  return value === 0 ? "0" : value.toExponential(1).replace(/\.0e/, "e");
}

/** `ok flow  worst 3.1e-6 of 3e-5 (out.z)`. */
export function formatResult(result: CaseResult): string {
  switch (result.status) {
    case "passed":
      return `ok ${result.name}  worst ${short(result.worst.error)} of ${
        short(result.worst.limit)
      } (${result.worst.name})`;
    case "failed":
      return `FAIL ${result.name}  ${result.reason}`;
    case "skipped":
      return `skipped ${result.name}  ${result.reason}`;
  }
}

/** How a folder is compared. */
export interface ParityOptions {
  readonly execute: Execute;
  /** Receives a line per case as it ends, and the summary. */
  readonly print: (line: string) => void;
}

/**
 * Runs every case of `dir`, printing a line each and `N passed, N failed, N skipped`.
 *
 * @throws {DataError} if the folder can't be read or has no case
 */
export async function parity(dir: string, options: ParityOptions): Promise<CaseResult[]> {
  const results: CaseResult[] = [];
  for (const file of await listCases(dir)) {
    const result = await runCase(file, options.execute);
    results.push(result);
    options.print(formatResult(result));
  }
  const count = (status: CaseResult["status"]): number => results.filter((r) => r.status === status).length;
  options.print(`${count("passed")} passed, ${count("failed")} failed, ${count("skipped")} skipped`);
  return results;
}
