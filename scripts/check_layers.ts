// Checks that imports follow the table of rooms in src/README.md, that none run in circles, and that the native backends
// do not include each other.
//
//   deno run -A scripts/check_layers.ts

import { join } from "node:path";
import { REPOSITORY } from "./setup.ts";
import { listFiles } from "./support/content_hash.ts";
import { checkLayers, type SourceFile, type Violation } from "./support/layers.ts";

const FOLDERS = ["src", "scripts", "tests", "native/src", "native/include"];
const SOURCE = /\.(?:ts|cpp|cc|c|h|hpp|cu|cuh)$/;

/** Reads the project's source files and checks them. */
export async function checkRepository(root: string): Promise<{ files: number; violations: Violation[] }> {
  const paths: string[] = [];
  for (const folder of FOLDERS) {
    const isThere = await Deno.stat(join(root, folder)).then((s) => s.isDirectory, () => false);
    if (!isThere) continue;
    const found = await listFiles(join(root, folder));
    paths.push(...found.map((path) => `${folder}/${path}`).filter((path) => SOURCE.test(path)));
  }
  if (await Deno.stat(join(root, "mod.ts")).then(() => true, () => false)) paths.push("mod.ts");
  const files: SourceFile[] = await Promise.all(
    paths.map(async (path) => ({ path, text: await Deno.readTextFile(join(root, path)) })),
  );
  const config: { imports?: Record<string, string> } = JSON.parse(await Deno.readTextFile(join(root, "deno.json")));
  return { files: files.length, violations: checkLayers(files, config.imports ?? {}) };
}

if (import.meta.main) {
  const { files, violations } = await checkRepository(REPOSITORY);
  for (const { path, line, message } of violations) console.error(`${path}:${line}: ${message}`);
  console.log(`layers: ${files} files, ${violations.length} violations`);
  if (violations.length > 0) Deno.exit(1);
}
