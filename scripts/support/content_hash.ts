import { createHash } from "node:crypto";
import { join } from "node:path";

/** Files below a folder, as paths relative to it, sorted; `keep` decides about each file and folder by its relative path. */
export async function listFiles(root: string, keep: (path: string) => boolean = () => true): Promise<string[]> {
  const found: string[] = [];
  const walk = async (folder: string): Promise<void> => {
    for await (const entry of Deno.readDir(join(root, folder))) {
      const path = folder === "" ? entry.name : `${folder}/${entry.name}`;
      if (!keep(path)) continue;
      if (entry.isDirectory) await walk(path);
      else if (entry.isFile) found.push(path);
    }
  };
  await walk("");
  return found.sort();
}

/** SHA-256 over names and contents of files, so that a renamed file counts as a change and a new date does not. */
export async function hashFiles(root: string, paths: readonly string[]): Promise<string> {
  const contents = await Promise.all(paths.map((path) => Deno.readFile(join(root, path))));
  const hash = createHash("sha256");
  paths.forEach((path, i) => {
    const content = contents[i] ?? new Uint8Array();
    hash.update(`${path}\0${content.length}\0`).update(content);
  });
  return hash.digest("hex");
}
