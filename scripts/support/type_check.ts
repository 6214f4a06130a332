import { pathToFileURL } from "node:url";
import { join } from "node:path";
import { tryCommand } from "./command.ts";

export interface TypeCheckResult {
  readonly ok: boolean;
  readonly output: string;
  /** Those of the files that have an error themselves, not in something that they import. */
  readonly files: readonly string[];
}

/** Checks the types of files and of everything local that they import. */
export async function checkTypes(root: string, files: readonly string[]): Promise<TypeCheckResult> {
  const result = await tryCommand(Deno.execPath(), ["check", "--quiet", ...files], {
    cwd: root,
    env: { NO_COLOR: "1" },
  });
  const output = `${result?.stdout ?? ""}${result?.stderr ?? ""}`.replace(/\n*Stack backtrace:[\s\S]*$/, "").trim();
  const base = pathToFileURL(join(await Deno.realPath(root), "/")).href;
  const places = new Set([...output.matchAll(/\bat (file:\/\/\S+?):\d+:\d+/g)].map((match) => match[1]));
  return { ok: result?.code === 0, output, files: files.filter((file) => places.has(base + encodeURI(file))) };
}
