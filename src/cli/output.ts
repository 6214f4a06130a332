/** Where a command writes: checked before anything is computed rather than after. */
import { access, constants, mkdir, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { CoopFlowError } from "../errors.ts";
import { systemReason } from "../io/system_error.ts";

/**
 * Makes the folder of a file that will be written.
 *
 * @throws {CoopFlowError} if it can't be made or written, or the file is a folder
 */
export async function expectWritable(file: string): Promise<void> {
  await expectFolder(dirname(file), file);
  const isFolder = await stat(file).then((found) => found.isDirectory(), () => false);
  if (isFolder) throw new CoopFlowError(`cannot write ${file}: it is a folder; choose another --out`);
}

/**
 * Makes a folder that files will be written to.
 *
 * @throws {CoopFlowError} if it can't be made or written
 */
export async function expectWritableFolder(folder: string): Promise<void> {
  await expectFolder(folder, folder);
}

async function expectFolder(folder: string, out: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true });
    await access(folder, constants.W_OK);
  } catch (error) {
    throw new CoopFlowError(`cannot write ${out}: ${systemReason(error)}; choose another --out`, { cause: error });
  }
}
