// Set-up, types, tests. The last line is the count, alone: `N passed, N failed[, N skipped]`.
//
//   deno run -A scripts/test.ts [--no-install] [--filter TEXT|/REGEXP/] [--verbose] [options of deno test…] [PATH…]
//
// A PATH is a test file or a folder of them; without any: tests/. A case is one leaf `it`; a file that can't be loaded,
// has a type error or takes its process down counts as failed.

import { relative, resolve } from "node:path";
import { NO_INSTALL_FLAG, REPOSITORY, setUp } from "./setup.ts";
import { listFiles } from "./support/content_hash.ts";
import { BuildError, runScript, WrongUsage } from "./support/setup_error.ts";
import { type CaseResult, countCases, fileFailure, type FileResult, formatTotals } from "./support/test_results.ts";
import { runTestFiles } from "./support/test_run.ts";
import { checkTypes } from "./support/type_check.ts";

const HELP = `Usage: deno task test [options] [path...]

Builds what is missing, checks types, runs tests

Arguments:
  path                   test files, or folders of them (default: tests)

Options:
  --filter <text>        cases whose name has this text, or matches /REGEXP/
  --verbose              what passing tests print, too
  --no-install           never install packages, say which are missing
  -h, --help             show this and an example

Other options go to deno test.

Example:
  deno task test tests/flow --filter inverse`;

interface TestArguments {
  install: boolean;
  verbose: boolean;
  filter?: string;
  readonly paths: string[];
  readonly denoArgs: string[];
}

function parseArguments(args: readonly string[]): TestArguments {
  const parsed: TestArguments = { install: true, verbose: false, paths: [], denoArgs: [] };
  for (let i = 0; i < args.length; i++) {
    const arg = args[i] ?? "";
    if (arg === NO_INSTALL_FLAG) parsed.install = false;
    else if (arg === "--verbose") parsed.verbose = true;
    else if (arg === "--filter") {
      const text = args[++i];
      if (text === undefined) throw new WrongUsage("test: expected a text after --filter, found nothing");
      parsed.filter = text;
    } else if (arg.startsWith("--filter=")) parsed.filter = arg.slice("--filter=".length);
    else if (arg.startsWith("-")) parsed.denoArgs.push(arg);
    else parsed.paths.push(arg);
  }
  return parsed;
}

/** Test files below the given paths, relative to the repository. */
async function findTestFiles(paths: readonly string[]): Promise<string[]> {
  const found = new Set<string>();
  for (const path of paths.length === 0 ? [resolve(REPOSITORY, "tests")] : paths) {
    const info = await Deno.stat(path).catch(() => undefined);
    if (info === undefined) throw new WrongUsage(`test: expected a test file or a folder, found nothing at ${path}`);
    const files = info.isDirectory ? await listFiles(path) : [""];
    for (const file of files) {
      const full = file === "" ? resolve(path) : resolve(path, file);
      if (!info.isDirectory || full.endsWith("_test.ts")) found.add(relative(REPOSITORY, full));
    }
  }
  return [...found].sort();
}

function fileLine({ file, cases }: FileResult): string {
  const ms = cases.reduce((sum, c) => sum + c.ms, 0);
  return `${file}: ${formatTotals(countCases(cases))} (${(ms / 1000).toFixed(ms < 100 ? 2 : 1)} s)`;
}

function showCase(kind: string, { file, name, detail = "" }: CaseResult & { readonly file: string }): string {
  const lines = detail.trimEnd().split("\n");
  if (lines.length === 1) return `${kind} ${file}: ${name}${detail === "" ? "" : `: ${detail}`}`;
  return [`${kind} ${file}: ${name}`, ...lines.map((line) => `    ${line}`), ""].join("\n");
}

async function main(): Promise<number> {
  const { install, verbose, filter, paths, denoArgs } = parseArguments(Deno.args);
  const files = await findTestFiles(paths);
  const results: FileResult[] = [];
  if (!await build(install, results)) return finish(results);

  console.log(`checking the types of ${files.length} test files…`);
  const types = await checkTypes(REPOSITORY, files);
  if (!types.ok) {
    console.log(types.output);
    const bad = types.files.length > 0 ? types.files : ["(types)"];
    const failure = fileFailure("does not compile: see above", "(types)");
    results.push(...bad.map((file) => ({ file, cases: [failure] })));
  }
  results.push(
    ...await runTestFiles({
      root: REPOSITORY,
      files: files.filter((file) => !types.files.includes(file)),
      ...(filter === undefined ? {} : { filter }),
      denoArgs,
      verbose,
      onFile: (result) => console.log(fileLine(result)),
    }),
  );

  return finish(results);
}

/** Builds the library and native/tests; when only the latter do not compile, that is a failure and the rest still runs. */
async function build(install: boolean, results: FileResult[]): Promise<boolean> {
  for (const tests of [true, false]) {
    try {
      await setUp({ install, tests });
      return true;
    } catch (error) {
      if (!(error instanceof BuildError)) throw error;
      results.splice(0, 1, { file: "native", cases: [fileFailure(error.message, "(build)")] });
    }
  }
  return false;
}

/** Shows what was skipped and what failed, and the count; returns the exit code. */
function finish(results: readonly FileResult[]): number {
  const cases = results.flatMap(({ file, cases }) => cases.map((c) => ({ ...c, file })));
  console.log();
  for (const c of cases) if (c.status === "skipped") console.log(showCase("skipped", c));
  for (const c of cases) if (c.status === "failed") console.log(showCase("FAILED", c));
  if (cases.length === 0) console.log("FAILED: expected at least one case, found none (does the filter select any?)");
  const totals = countCases(cases);
  console.log(formatTotals(totals));
  return totals.failed > 0 || cases.length === 0 ? 1 : 0;
}

await runScript(main, HELP);
