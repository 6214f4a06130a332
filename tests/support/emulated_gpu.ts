import { dirname, join } from "node:path";
import type { DeviceOptions } from "../../src/runtime/device.ts";
import { libraryPath } from "../../src/runtime/library.ts";

const PLUGIN = "COOPFLOW_CUDA_PLUGIN";

const MEMORY = "COOPFLOW_EMULATED_MEMORY";

/**
 * Opens something on the CUDA backend's host emulation: the launch lists and kernels that a GPU would run, compiled by the C++ compiler.
 *
 * @param memory bytes that the emulated GPU has; as many as the host if not given
 */
export function onEmulatedGpu<T>(open: (device: DeviceOptions) => T, memory?: number): T {
  const plugin = join(dirname(libraryPath()), "libcoopflow_cuda_emulated.so");
  const before = [PLUGIN, MEMORY].map((name) => [name, Deno.env.get(name)] as const);
  setVariable(PLUGIN, plugin);
  setVariable(MEMORY, memory?.toString());
  try {
    return open({ device: "cuda" });
  } finally {
    for (const [name, value] of before) setVariable(name, value);
  }
}

function setVariable(name: string, value: string | undefined): void {
  if (value === undefined) Deno.env.delete(name);
  else Deno.env.set(name, value);
}
