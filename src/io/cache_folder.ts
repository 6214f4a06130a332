/** Where things are kept that can be made again. */

import { homedir } from "node:os";
import { join } from "node:path";
import process from "node:process";

/** `COOPFLOW_CACHE` (empty: none), else `XDG_CACHE_HOME`/coopflow, else ~/.cache/coopflow. */
export function cacheFolder(): string | null {
  const chosen = process.env["COOPFLOW_CACHE"];
  if (chosen !== undefined) return chosen === "" ? null : chosen;
  const base = process.env["XDG_CACHE_HOME"];
  return join(base ? base : join(homedir(), ".cache"), "coopflow");
}
