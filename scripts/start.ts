// What the tasks of deno.json run: set-up, then one command of the command line in the same process.
//
//   deno run -A scripts/start.ts COMMAND [--no-install] [options of the command…]

import { NO_INSTALL_FLAG, setUp } from "./setup.ts";
import { runScript } from "./support/setup_error.ts";

async function start(): Promise<number> {
  const args = Deno.args.filter((arg) => arg !== NO_INSTALL_FLAG);
  const wantsHelp = args.includes("--help") || args.includes("-h");
  if (!wantsHelp) await setUp({ install: args.length === Deno.args.length, tests: false });
  const { main } = await import("../src/cli/main.ts");
  return await main(args);
}

await runScript(start);
