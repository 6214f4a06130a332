import { fileURLToPath } from "node:url";
import { TINY, tinyImages } from "../coopflow/support.ts";
import { readAll } from "../../src/data/dataset.ts";
import { tensorOf, writeSafetensors } from "../../src/io/safetensors.ts";

const REPOSITORY = fileURLToPath(new URL("../..", import.meta.url));
const MAIN = `${REPOSITORY}src/cli/main.ts`;

/** What a command that ended has printed, and its exit code. */
export interface Ended {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Starts the command line in a process of its own, in `cwd`. */
export function start(cwd: string, args: readonly string[], env: Record<string, string> = {}): Deno.ChildProcess {
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", "--config", `${REPOSITORY}deno.json`, MAIN, ...args],
    cwd,
    env: { NO_COLOR: "1", ...env },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

/** Runs the command line to its end. */
export async function run(cwd: string, args: readonly string[], env: Record<string, string> = {}): Promise<Ended> {
  const { code, stdout, stderr } = await start(cwd, args, env).output();
  return { code, out: new TextDecoder().decode(stdout), err: new TextDecoder().decode(stderr) };
}

/** Writes `tiny.json` and `tiny.safetensors` to a folder; arguments that train on them. */
export async function tinyFiles(folder: string): Promise<string[]> {
  await Deno.writeTextFile(`${folder}/tiny.json`, JSON.stringify(TINY));
  const data = tinyImages();
  const images = tensorOf([data.count, data.height, data.width, data.channels], readAll(data));
  await writeSafetensors(`${folder}/tiny.safetensors`, new Map([["images", images]]), new Map([["levels", "4"]]));
  return ["--config", "tiny.json", "--data", "tiny.safetensors", "--threads", "1"];
}
