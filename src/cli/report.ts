/** `coopflow report`. */
import { writeAtomic } from "../io/atomic.ts";
import { UsageError } from "../errors.ts";
import { comparisonPage, runPage, writeRunPage } from "../coopflow/run_page.ts";

/** The options of the command. */
export interface ReportCommandOptions {
  readonly out?: string;
}

/** Where the comparison of several runs goes. */
const COMPARISON = "comparison.html";

/** Runs the command; returns the exit code. */
export async function reportCommand(runs: readonly string[], { out }: ReportCommandOptions): Promise<number> {
  if (out !== undefined && !/\.html?$/i.test(out)) throw new UsageError(`--out: expected FILE.html, found ${out}`);
  const [first = ""] = runs;
  if (runs.length === 1 && out === undefined) {
    console.log(`the report: ${await writeRunPage(first)}`);
    return 0;
  }
  const path = out ?? COMPARISON;
  const text = runs.length === 1 ? await runPage(first) : await comparisonPage(runs);
  await writeAtomic(path, new TextEncoder().encode(text));
  console.log(`the ${runs.length === 1 ? "report" : "comparison"}: ${path}`);
  return 0;
}
