// Runs test files with `deno test`, all in one process, and survives what one of them may do to it: a file that takes
// the process down, or that can't be loaded, fails; the others still run.

import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { EVENTS_VARIABLE, FILTER_VARIABLE, type TestEvent } from "../../tests/support/std/report.ts";
import { type CaseResult, fileFailure, type FileResult, TestCollector } from "./test_results.ts";

export interface TestRunOptions {
  /** The folder with deno.json; files are relative to it. */
  readonly root: string;
  readonly files: readonly string[];
  /** Selects cases by name: text, or `/regular expression/`. */
  readonly filter?: string;
  /** Further arguments for `deno test`. */
  readonly denoArgs?: readonly string[];
  /** Shows what the tests and Deno print; otherwise only the end of it is kept, for a process that dies. */
  readonly verbose?: boolean;
  /** Called when all cases of a file have run; failures outside of its cases are known only at the end. */
  readonly onFile?: (result: FileResult) => void;
}

/** Runs all files; resolves to one result each, in the order in which they ended. */
export async function runTestFiles(options: TestRunOptions): Promise<FileResult[]> {
  const results: FileResult[] = [];
  let remaining = [...options.files];
  while (remaining.length > 0) {
    const run = await runOnce({ ...options, files: remaining });
    results.push(...run.results);
    remaining = remaining.filter((file) => !run.results.some((result) => result.file === file));
    if (run.results.length > 0) continue;
    // Nothing began: some file can't be loaded (an import that leads nowhere), and that stops Deno altogether.
    if (remaining.length === 1) return [...results, ...remaining.map((file) => notLoaded(file, run.output))];
    for (const file of remaining) results.push(...await runTestFiles({ ...options, files: [file] }));
    return results;
  }
  return results;
}

function notLoaded(file: string, output: string): FileResult {
  return { file, cases: [fileFailure(`could not be loaded\n${tail(output)}`)] };
}

/** One process: results for the files that began to run. */
async function runOnce(options: TestRunOptions): Promise<{ results: FileResult[]; output: string }> {
  const { root, files } = options;
  const folder = await Deno.makeTempDir({ prefix: "coopflow-test-" });
  try {
    const events = join(folder, "events.jsonl");
    await Deno.writeTextFile(events, "");
    const child = spawn(options, events);
    const output = readOutput(child, options.verbose ?? false);

    const base = pathToFileURL(join(await Deno.realPath(root), "/")).href;
    const collector = new TestCollector((url) => url.startsWith(base) ? decodeURI(url.slice(base.length)) : url);
    const follow = followEvents(events, child.status, (event) => {
      const file = collector.add(event);
      if (event.type === "result" && collector.isComplete(file)) options.onFile?.(collector.finish(file, []));
    });
    const [status, text] = await Promise.all([child.status, output, follow]);

    // Deno sums up when it comes to its end; without that, the last file that began took the process down.
    const isWhole = /^(?:ok|FAILED) \| \d+ passed/m.test(text);
    const ended = isWhole ? files : files.filter((file) => collector.hasBegun(file));
    const death = `the process died (${status.signal ?? `exit code ${status.code}`})\n${tail(text)}`;
    const results = ended.map((file) =>
      collector.finish(file, outsideFailures(file, text), !isWhole && file === ended.at(-1) ? death : undefined)
    );
    if (isWhole && status.code !== 0 && results.every(hasPassed)) {
      const detail = `failed with exit code ${status.code}\n${tail(text)}`;
      results.push({ file: "(run)", cases: [fileFailure(detail, "deno test")] });
    }
    return { results, output: text };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function hasPassed({ cases }: FileResult): boolean {
  return cases.every((c) => c.status !== "failed");
}

function spawn(options: TestRunOptions, events: string): Deno.ChildProcess {
  const { root, files, filter, denoArgs = [] } = options;
  return new Deno.Command(Deno.execPath(), {
    // Types were checked before; here a file with a wrong type still runs.
    args: ["test", "-A", "--no-check", ...denoArgs, ...files],
    cwd: root,
    env: { NO_COLOR: "1", [EVENTS_VARIABLE]: events, [FILTER_VARIABLE]: filter ?? "" },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

/** Resolves to what the process printed. */
async function readOutput(child: Deno.ChildProcess, verbose: boolean): Promise<string> {
  let output = "";
  const read = async (stream: ReadableStream<Uint8Array>) => {
    const decoder = new TextDecoder();
    for await (const chunk of stream) {
      if (verbose) await Deno.stderr.write(chunk);
      output += decoder.decode(chunk, { stream: true });
    }
  };
  await Promise.all([read(child.stdout), read(child.stderr)]);
  return output.trim();
}

function tail(output: string): string {
  return output.split("\n").slice(-30).join("\n");
}

/** Reads the events file until the process has ended. */
async function followEvents(path: string, ended: Promise<unknown>, onEvent: (event: TestEvent) => void): Promise<void> {
  let running = true;
  let offset = 0;
  const end = ended.then(() => running = false);
  while (true) {
    const isLast = !running;
    const text = new TextDecoder().decode(await readFrom(path, offset));
    const complete = text.slice(0, text.lastIndexOf("\n") + 1);
    offset += new TextEncoder().encode(complete).length;
    for (const line of complete.split("\n")) if (line !== "") onEvent(JSON.parse(line));
    if (isLast) return;
    await Promise.race([end, new Promise((resolve) => setTimeout(resolve, 200))]);
  }
}

async function readFrom(path: string, offset: number): Promise<Uint8Array> {
  using file = await Deno.open(path);
  await file.seek(offset, Deno.SeekMode.Start);
  const bytes = new Uint8Array((await file.stat()).size - offset);
  let read = 0;
  while (read < bytes.length) read += await file.read(bytes.subarray(read)) ?? bytes.length;
  return bytes;
}

/** What Deno prints as failed outside of the cases: tests (our top-level describes) without a failed step, and files. */
function outsideFailures(file: string, output: string): CaseResult[] {
  const errors = output.slice(Math.max(0, output.lastIndexOf("\n ERRORS \n")));
  const section = output.split(/^running \d+ tests? from /m).find((text) => text.startsWith(`./${file}\n`)) ?? "";
  const failures: CaseResult[] = [];
  for (const [, name = ""] of section.matchAll(/^(\S.*) \.\.\. FAILED \((?!due to)/gm)) {
    failures.push(
      fileFailure(paragraphAfter(errors, `${name} => `) ?? "a leak; the process died before its report", name),
    );
  }
  const uncaught = paragraphAfter(errors, `./${file} (uncaught error)`);
  if (uncaught !== undefined) failures.push(fileFailure(uncaught, "(uncaught error)"));
  return failures;
}

/** The lines up to the next empty one that follow a line with the given beginning. */
function paragraphAfter(text: string, beginning: string): string | undefined {
  const lines = text.split("\n");
  const start = lines.findIndex((line) => line.startsWith(beginning)) + 1;
  if (start === 0) return undefined;
  const end = lines.indexOf("", start);
  return lines.slice(start, end < 0 ? undefined : end).join("\n");
}
