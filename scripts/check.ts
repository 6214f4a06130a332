// Everything that can be said about the code without running it: types, lint, formatting, layers.
//
//   deno run -A scripts/check.ts

import { checkRepository } from "./check_layers.ts";
import { REPOSITORY } from "./setup.ts";
import { tryCommand } from "./support/command.ts";
import { runScript, WrongUsage } from "./support/setup_error.ts";

const HELP = `Usage: deno task check

Checks types, lint, formatting and what each room of src may import

Example:
  deno task check`;

const DENO_CHECKS: Readonly<Record<string, readonly string[]>> = {
  types: ["check", "--quiet", "."],
  lint: ["lint", "--quiet"],
  format: ["fmt", "--check"],
};

async function runDeno(args: readonly string[]): Promise<{ ok: boolean; output: string }> {
  const result = await tryCommand(Deno.execPath(), args, { cwd: REPOSITORY, env: { NO_COLOR: "1" } });
  const output = `${result?.stdout ?? ""}${result?.stderr ?? ""}`.replace(/\n*Stack backtrace:[\s\S]*$/, "").trim();
  return { ok: result?.code === 0, output };
}

async function runLayers(): Promise<{ ok: boolean; output: string }> {
  const { violations } = await checkRepository(REPOSITORY);
  const output = violations.map(({ path, line, message }) => `${path}:${line}: ${message}`).join("\n");
  return { ok: violations.length === 0, output };
}

async function main(): Promise<number> {
  if (Deno.args.length > 0) throw new WrongUsage(`check: expected no arguments, found ${Deno.args.join(" ")}`);
  const checks = {
    ...Object.fromEntries(Object.entries(DENO_CHECKS).map(([k, args]) => [k, runDeno(args)])),
    layers: runLayers(),
  };
  let failed = false;
  for (const [name, running] of Object.entries(checks)) {
    const { ok, output } = await running;
    if (!ok) {
      failed = true;
      console.error(output);
    }
    console.log(`${name}: ${ok ? "ok" : "FAILED"}`);
  }
  return failed ? 1 : 0;
}

await runScript(main, HELP);
