import { dirname, join } from "node:path";
import type { DeviceOptions } from "../../src/runtime/device.ts";
import { libraryPath } from "../../src/runtime/library.ts";

const PLUGIN = "COOPFLOW_CUDA_PLUGIN";

/** Opens something on the CUDA backend's host emulation: the launch lists and kernels that a GPU would run, compiled by the C++ compiler. */
export function onEmulatedGpu<T>(open: (device: DeviceOptions) => T): T {
  const before = Deno.env.get(PLUGIN);
  Deno.env.set(PLUGIN, join(dirname(libraryPath()), "libcoopflow_cuda_emulated.so"));
  try {
    return open({ device: "cuda" });
  } finally {
    if (before === undefined) Deno.env.delete(PLUGIN);
    else Deno.env.set(PLUGIN, before);
  }
}
