// Makes the native library ready: installs what its build needs, builds it, does nothing when it is up to date.
//
//   deno run -A scripts/setup.ts [--no-install] [--tests]
//
// --no-install (or COOPFLOW_NO_INSTALL=1): never install packages, say which are missing. --tests: build native/tests too.

import { fileURLToPath } from "node:url";
import { ensureNativeLibrary } from "./support/native_build.ts";
import { runScript, WrongUsage } from "./support/setup_error.ts";

export const NO_INSTALL_FLAG = "--no-install";

const HELP = `Usage: deno task build [options]

Installs what the native library's build needs, and builds it; does nothing when it is up to date

Options:
  --tests       build the native tests too
  --no-install  never install packages, say which are missing
  -h, --help    show this and an example

Example:
  deno task build --tests`;

/** The folder that has native/, package.json and deno.json. */
export const REPOSITORY: string = fileURLToPath(new URL("..", import.meta.url));

/** Set-up as every task begins with it. Progress goes to stderr: stdout belongs to the task. */
export async function setUp(options: { readonly install: boolean; readonly tests: boolean }): Promise<void> {
  const forbidden = Deno.env.get("COOPFLOW_NO_INSTALL");
  await ensureNativeLibrary({
    root: REPOSITORY,
    tests: options.tests,
    install: options.install && (forbidden === undefined || forbidden === "" || forbidden === "0"),
    say: (line) => console.error(line),
  });
}

async function main(): Promise<number> {
  const unknown = Deno.args.find((arg) => arg !== NO_INSTALL_FLAG && arg !== "--tests");
  if (unknown !== undefined) {
    throw new WrongUsage(`setup: expected ${NO_INSTALL_FLAG} or --tests, found ${JSON.stringify(unknown)}`);
  }
  await setUp({ install: !Deno.args.includes(NO_INSTALL_FLAG), tests: Deno.args.includes("--tests") });
  return 0;
}

if (import.meta.main) await runScript(main, HELP);
