/** The command line: arguments in, exit code out. What a command needs is imported when it runs, so that `--help` answers at once. */
import process from "node:process";
import { CoopFlowError, exitCode, UsageError } from "../errors.ts";
import { createCommands } from "./commands.ts";

/**
 * Runs one command.
 *
 * @param args the arguments after the program's name
 * @returns 0 done, 1 failed, 2 wrong usage, 130 interrupted
 */
export async function main(args: readonly string[]): Promise<number> {
  const { CommanderError } = await import("commander");
  try {
    const result: { code: number } = { code: 0 };
    const program = createCommands(await import("commander"), (code) => result.code = code);
    if (args.length === 0) {
      program.outputHelp();
      throw new UsageError("expected a command, found none");
    }
    await program.parseAsync([...args], { from: "user" });
    return result.code;
  } catch (error) {
    if (error instanceof CommanderError) {
      if (error.exitCode === 0) return 0;
      return fail(new UsageError(commanderMessage(error.message), { cause: error }));
    }
    return fail(error);
  }
}

/** Prints an error in one line; returns the exit code. */
function fail(thrown: unknown): number {
  const error = firstOf(thrown);
  const message = error instanceof Error ? error.message : String(error);
  const line = message.trim().replaceAll(/\s*\n\s*/g, "; ");
  if (error instanceof CoopFlowError) {
    console.error(`coopflow: ${line}`);
    return exitCode(error);
  }
  const debug = process.env["COOPFLOW_DEBUG"];
  if (debug !== undefined && debug !== "" && error instanceof Error) console.error(error.stack);
  const name = error instanceof Error ? error.name : "error";
  console.error(`coopflow: unexpected ${name}: ${line} (COOPFLOW_DEBUG=1 shows where)`);
  return 1;
}

/** "error: unknown option '--x'\n(Did you mean --y?)" → one line in this library's words. */
function commanderMessage(message: string): string {
  return message
    .replace(/^error: /, "")
    .replace(
      /^(?:option|command-argument) '(\S+?)[ ,].*?' (?:argument|value) '.*?' is invalid(?: from \w+)?\. (.*)$/s,
      "$1: $2",
    )
    .replace(/^missing required argument '(.*)'$/, "<$1>: expected this argument, found it missing")
    .replace(/^option '(.*)' argument missing$/, "$1: expected a value, found none")
    .replace(
      /^too many arguments for '(\w+)'\. Expected (\d+) .* but got (\d+): (.*)\.$/,
      "$1: expected $2 arguments, found $3: $4",
    )
    .replace(/\n?\(Did you mean (.*)\?\)/, "; the nearest is $1")
    .replaceAll("'", "");
}

if (import.meta.main) process.exit(await main(process.argv.slice(2)));

/** What failed first, where closing something after it failed too. */
function firstOf(error: unknown): unknown {
  return error instanceof SuppressedError ? firstOf(error.suppressed) : error;
}
