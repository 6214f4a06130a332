/** Telling of a profile: tables on standard error, a trace in a file. */
import { writeAtomic } from "../../io/atomic.ts";
import type { Profile } from "../../runtime/program.ts";
import type { Peaks } from "./peaks.ts";
import { profileLines } from "./table.ts";
import { chromeTrace } from "./trace.ts";

/** What was profiled, and where its trace goes. */
export interface ProfileReport {
  readonly profile: Profile;
  readonly runs: number;
  readonly peaks: Peaks;
  readonly title: string;
  readonly path: string;
}

/**
 * Prints the tables and writes the trace. Standard output belongs to the command's results.
 *
 * @throws {CoopFlowError} if the file can't be written
 */
export async function reportProfile({ profile, runs, peaks, title, path }: ProfileReport): Promise<void> {
  for (const line of profileLines(profile, runs, peaks)) console.error(line);
  await writeAtomic(path, new TextEncoder().encode(JSON.stringify(chromeTrace(profile, title))));
  console.error(`trace (open it in chrome://tracing or ui.perfetto.dev): ${path}`);
}
