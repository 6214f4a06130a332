import { dirname, join } from "node:path";
import type { DeviceOptions } from "../../src/runtime/device.ts";
import { libraryPath } from "../../src/runtime/library.ts";

/** How to open the CUDA backend on its host emulation: the launch lists and kernels that a GPU would run, compiled by the C++ compiler. */
export function emulatedGpu(): DeviceOptions {
  Deno.env.set("COOPFLOW_CUDA_PLUGIN", join(dirname(libraryPath()), "libcoopflow_cuda_emulated.so"));
  return { device: "cuda" };
}
