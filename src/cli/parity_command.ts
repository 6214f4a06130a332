/** `coopflow parity`. */
import { DataError, UsageError } from "../errors.ts";
import type { DeviceFlags } from "./options.ts";
import { deviceOptions } from "../runtime/device.ts";
import { NativeExecutor } from "./parity/native_executor.ts";
import { formatResult, listCases, runCase } from "./parity/parity.ts";

/** The options of the command. */
export interface ParityCommandOptions extends DeviceFlags {
  readonly only?: readonly string[];
}

/** Runs the command; returns the exit code. */
export async function parityCommand(dir: string, options: ParityCommandOptions): Promise<number> {
  const { only } = options;
  const all = await listCases(dir);
  const missing = only?.find((name) => !all.some((found) => found.name === name));
  if (missing !== undefined) {
    throw new UsageError(
      `--only: expected cases of ${dir} (${all.map(({ name }) => name).join(", ")}), found ${missing}`,
    );
  }
  const cases = only === undefined ? all : all.filter(({ name }) => only.includes(name));
  if (cases.length === 0) throw new DataError(`${dir}: expected cases to compare with, found none`);
  using executor = new NativeExecutor(deviceOptions(options));
  const count = { passed: 0, failed: 0, skipped: 0 };
  for (const found of cases) {
    const result = await runCase(found, executor.execute, executor.precision);
    count[result.status]++;
    console.log(formatResult(result));
  }
  console.log(`${count.passed} passed, ${count.failed} failed, ${count.skipped} skipped`);
  return count.failed > 0 ? 1 : 0;
}
