/** One process per run directory: a lock file that says who holds it, and is taken over when its holder is gone. */
import { open, readFile, rm } from "node:fs/promises";
import { hostname } from "node:os";
import process from "node:process";
import { CoopFlowError } from "../errors.ts";
import { writeAtomic } from "../io/atomic.ts";
import { systemCode, systemReason } from "../io/system_error.ts";

/** Who holds a lock. A process number alone may be given to another process later, so its start time is compared too. */
interface Holder {
  readonly pid: number;
  /** When it started, as the system counts; empty where the system does not tell. */
  readonly started: string;
  readonly host: string;
}

/** A lock that is held. */
export interface RunLock {
  /** Gives the lock back. Doing so twice does nothing. */
  release(): Promise<void>;
}

/**
 * Takes the lock at `path`.
 *
 * @throws {CoopFlowError} if another process that runs holds it
 */
export async function acquireLock(path: string): Promise<RunLock> {
  const own: Holder = { pid: process.pid, started: await startOf(process.pid), host: hostname() };
  const text = JSON.stringify(own);
  if (!await createExclusively(path, text)) {
    const holder = await holderOf(path);
    if (holder !== undefined && await isAlive(holder)) {
      const where = holder.host === own.host ? "" : ` on ${holder.host}`;
      throw new CoopFlowError(
        `expected a run that no other process works on, found it in use by process ${holder.pid}${where}; ` +
          `wait for it or end it (if it is gone, remove ${path})`,
      );
    }
    await writeAtomic(path, new TextEncoder().encode(text));
    // Two processes may take over at once; the one whose name stands there has it.
    if (await readFile(path, "utf8").catch(() => "") !== text) {
      throw new CoopFlowError(`expected a run that no other process works on, found ${path} just taken by another`);
    }
  }
  return {
    release: async () => {
      if (await readFile(path, "utf8").catch(() => "") === text) await rm(path, { force: true });
    },
  };
}

/** Whether a process that runs holds the lock at `path`. */
export async function isLocked(path: string): Promise<boolean> {
  const holder = await holderOf(path);
  return holder !== undefined && await isAlive(holder);
}

async function createExclusively(path: string, text: string): Promise<boolean> {
  try {
    const file = await open(path, "wx");
    try {
      await file.writeFile(text);
    } finally {
      await file.close();
    }
    return true;
  } catch (error) {
    if (systemCode(error) === "EEXIST") return false;
    throw new CoopFlowError(`cannot write ${path}: ${systemReason(error)}`, { cause: error });
  }
}

async function holderOf(path: string): Promise<Holder | undefined> {
  try {
    const value: unknown = JSON.parse(await readFile(path, "utf8"));
    if (typeof value !== "object" || value === null) return undefined;
    const { pid, started, host } = value as Record<string, unknown>;
    if (typeof pid !== "number" || typeof started !== "string" || typeof host !== "string") return undefined;
    return { pid, started, host };
  } catch {
    // Torn by a kill while it was written: nobody holds it.
    return undefined;
  }
}

async function isAlive({ pid, started, host }: Holder): Promise<boolean> {
  // What runs on another machine can't be seen from here.
  if (host !== hostname()) return true;
  try {
    process.kill(pid, 0);
  } catch (error) {
    if (systemCode(error) !== "EPERM") return false;
  }
  return await startOf(pid) === started;
}

/** Field 22 of /proc/PID/stat: clock ticks from boot to the process's start; empty on systems without it. */
async function startOf(pid: number): Promise<string> {
  const text = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
  // The name, field 2, stands in brackets and may hold spaces.
  return text.slice(text.lastIndexOf(")") + 2).split(" ")[19] ?? "";
}
