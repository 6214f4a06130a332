import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { join } from "node:path";
import { REPOSITORY } from "../../scripts/setup.ts";
import { tryCommand } from "../../scripts/support/command.ts";

/** Tasks that are no commands of the command line, their scripts, and arguments that they can't use. */
const SCRIPTS: readonly [task: string, script: string, wrong: string[], message: string][] = [
  ["check", "check.ts", ["src"], "check: expected no arguments, found src"],
  ["test", "test.ts", ["tests/nowhere"], "test: expected a test file or a folder, found nothing at tests/nowhere"],
  ["study", "study.ts", ["nothing"], "study: expected a name from tests/studies (ablation, "],
  ["sanitize", "sanitize.ts", ["memory"], 'sanitize: expected address or thread, found "memory"'],
  ["build", "setup.ts", ["--fast"], 'setup: expected --no-install or --tests, found "--fast"'],
  ["compare", "compare_peer.ts", ["--pyhton", "x"], "compare: Unknown option '--pyhton'; see --help"],
];

async function run(script: string, args: readonly string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const result = await tryCommand(Deno.execPath(), [
    "run",
    "-A",
    "--no-check",
    join(REPOSITORY, "scripts", script),
    ...args,
  ], {
    cwd: REPOSITORY,
    env: { NO_COLOR: "1" },
  });
  if (result === undefined) throw new Error("deno could not be started");
  return result;
}

describe("the scripts behind tasks", () => {
  for (const [task, script, wrong, message] of SCRIPTS) {
    it(`${task} --help has an example and does nothing`, async () => {
      const { code, stdout, stderr } = await run(script, ["--help"]);
      assertEquals([code, stderr], [0, ""]);
      assertMatch(stdout, new RegExp(`^Usage: deno task ${task}\\b[^]*Example:\\n  deno task ${task}\\b`));
    });

    it(`${task} ${wrong.join(" ")} ends with 2 and a line`, async () => {
      const { code, stderr } = await run(script, wrong);
      assertEquals([code, stderr.trim().split("\n").length], [2, 1], stderr);
      assertStringIncludes(stderr, message);
    });
  }
});
