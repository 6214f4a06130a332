/** What people are told when NVIDIA's libraries are missing, old or of another version: tried with stand-ins that have the functions' names and nothing else. */
import { assertEquals, assertMatch } from "@std/assert";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { writePrograms } from "../../scripts/support/write_programs.ts";
import { buildInfo } from "../../src/runtime/device.ts";
import { libraryPath } from "../../src/runtime/library.ts";

buildInfo();

const PLUGIN = join(dirname(libraryPath()), "libcoopflow_cuda.so");
const HEADER = fileURLToPath(new URL("../../native/src/cuda/gpu/libraries.h", import.meta.url));
const RUN_PROGRAM = fileURLToPath(new URL("../../native/build/tests/run_program", import.meta.url));

function exists(path: string): boolean {
  try {
    return Deno.statSync(path).size >= 0;
  } catch {
    return false;
  }
}

const absent = { ignore: !exists(PLUGIN), reason: "no CUDA toolkit when the library was built" };
/** A toolkit in the system's own folders would be found behind the stand-ins. */
const installed = { ignore: exists("/usr/local/cuda"), reason: "a CUDA toolkit is installed for the whole system" };

/** C: every function that the backend looks up, under every version of its name; nothing works. */
function standIn(): string {
  const names = [...Deno.readTextFileSync(HEADER).matchAll(/X\(((?:cu|nvrtc|cublasLt|cudnn)\w+)\)/g)].map((m) => m[1]!);
  const special = ["cuDriverGetVersion", "cudnnGetVersion", "nvrtcVersion"];
  const unnamed = ["cuEventElapsedTime", "cuStreamGetCaptureInfo", "cuStreamUpdateCaptureDependencies"];
  const noDevice = [...names, ...unnamed].filter((name) => !special.includes(name))
    .flatMap((name) => ["", "_v2", "_v3"].map((version) => `int ${name}${version}(void) { return 100; }`));
  return `#include <stdlib.h>
int cuDriverGetVersion(int* version) { *version = atoi(getenv("STAND_IN_DRIVER")); return 0; }
unsigned long cudnnGetVersion(void) { return strtoul(getenv("STAND_IN_CUDNN"), 0, 10); }
int nvrtcVersion(int* major, int* minor) { *major = 13, *minor = 0; return 0; }
${noDevice.join("\n")}
`;
}

describe("on a machine whose NVIDIA libraries won't do", absent, () => {
  let folder = "";
  let program = "";
  beforeAll(async () => {
    folder = await Deno.makeTempDir();
    [program = ""] = await writePrograms(join(folder, "programs"), 2);
    await Deno.writeTextFile(join(folder, "stand_in.c"), standIn());
    const { code, stderr } = await new Deno.Command("cc", {
      args: ["-shared", "-fPIC", "-w", "-fno-builtin", "-o", join(folder, "stand_in.so"), join(folder, "stand_in.c")],
    }).output();
    assertEquals(code, 0, new TextDecoder().decode(stderr));
  });
  afterAll(() => Deno.remove(folder, { recursive: true }));

  /** The one line that a program gets which asks for a GPU where these libraries are. */
  async function refusal(libraries: readonly string[], versions: { driver?: number; cudnn?: number } = {}) {
    const lib = await Deno.makeTempDir({ dir: folder });
    for (const name of libraries) await Deno.copyFile(join(folder, "stand_in.so"), join(lib, name));
    const { driver = 13000, cudnn = 92800 } = versions;
    const env = {
      LD_LIBRARY_PATH: lib,
      COOPFLOW_CUDA_PATH: lib,
      COOPFLOW_CUDA_PLUGIN: PLUGIN,
      COOPFLOW_CACHE: "",
      HOME: lib,
      PATH: lib,
      STAND_IN_DRIVER: String(driver),
      STAND_IN_CUDNN: String(cudnn),
    };
    const command = new Deno.Command(RUN_PROGRAM, { args: [program, "--device", "cuda"], env, clearEnv: true });
    const { code, stderr } = await command.output();
    const text = new TextDecoder().decode(stderr);
    assertEquals(code, 1, text);
    assertMatch(text, /^run_program: cf_context_create: [^\n]+\n$/);
    return text;
  }

  const ALL = ["libcuda.so.1", "libnvrtc.so.13", "libcublasLt.so.13", "libcudnn.so.9"];

  it("tells of an old driver", async () => {
    assertMatch(
      await refusal(ALL, { driver: 12020 }),
      /driver is too old: expected one for CUDA 12\.4 or newer \(version 550\), found CUDA 12\.2/,
    );
  });

  it("tells of a driver without a GPU", async () => {
    assertMatch(await refusal(ALL), /the NVIDIA driver finds no GPU on this machine; use the device cpu/);
  });

  it("tells of another version of cuDNN", async () => {
    assertMatch(
      await refusal(ALL, { cudnn: 8907 }),
      /cuDNN is of another version: expected 9, found 8907; install it with pip install nvidia-cudnn-cu13/,
    );
  });

  it("names what is missing, with the line that installs it", installed, async () => {
    const without = (name: string): string[] => ALL.filter((library) => !library.startsWith(name));
    assertMatch(await refusal(without("libnvrtc")), /NVRTC.* was not found.*pip install nvidia-cuda-nvrtc \(scripts/);
    assertMatch(await refusal(without("libcublasLt")), /cuBLASLt was not found.*pip install nvidia-cublas \(scripts/);
    assertMatch(await refusal(without("libcudnn")), /cuDNN 9 was not found.*pip install nvidia-cudnn-cu13 \(scripts/);
    assertMatch(
      await refusal([...without("libcudnn"), "libcudnn.so.8"]),
      /expected 9 \(libcudnn\.so\.9\), found libcudnn\.so\.8/,
    );
  });
});
