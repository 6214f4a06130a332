// Runs one of the long measurements in tests/studies, each a module that exports `main(args): Promise<number>`.
//
//   deno run -A scripts/study.ts NAME [--no-install] [options of the study…]

import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { NO_INSTALL_FLAG, REPOSITORY, setUp } from "./setup.ts";
import { listFiles } from "./support/content_hash.ts";
import { runScript, WrongUsage } from "./support/setup_error.ts";

const HELP = `Usage: deno task study <name> [options]

Runs one of the long measurements, minutes to an hour of all cores

Studies:
  ablation         the paper's variants on digits, three seeds each
  evaluate-memory  what evaluating 50,000 images takes beside 1,000
  kill             training, killed again and again, ends with the same bytes
  memory           what an iteration holds where it holds most
  reconstruction   the search's gradient through the chain, beside PyTorch's
  scaling          whether time grows as the work does

The options of each are at the head of tests/studies/NAME.ts.

Example:
  deno task study memory paper 16 --recompute`;

interface Study {
  main(args: readonly string[]): Promise<number>;
}

async function run(): Promise<number> {
  const args = Deno.args.filter((arg) => arg !== NO_INSTALL_FLAG);
  const folder = join(REPOSITORY, "tests/studies");
  const files = await listFiles(folder, (path) => path.endsWith(".ts")).catch(() => []);
  const names = files.map((file) => file.replace(/\.ts$/, ""));
  const [name = "", ...rest] = args;
  if (!names.includes(name)) {
    const known = names.length === 0 ? "none is there yet" : names.join(", ");
    throw new WrongUsage(
      `study: expected a name from tests/studies (${known}), found ${
        name === "" ? "none" : JSON.stringify(name)
      }; see --help`,
    );
  }
  await setUp({ install: args.length === Deno.args.length, tests: true });
  const study: Study = await import(pathToFileURL(join(folder, `${name}.ts`)).href);
  return await study.main(rest);
}

await runScript(run, HELP);
