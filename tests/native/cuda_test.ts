/** The CUDA backend on a machine with its toolkit, with or without a GPU. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { writePrograms } from "../../scripts/support/write_programs.ts";
import { NativeError } from "../../src/errors.ts";
import { buildInfo, Device } from "../../src/runtime/device.ts";
import { libraryPath, STATUS } from "../../src/runtime/library.ts";

buildInfo();

const PLUGIN = join(dirname(libraryPath()), "libcoopflow_cuda.so");
const TEST = fileURLToPath(new URL("../../native/build/tests/test_gpu", import.meta.url));

// Where the toolkit was installed before the build, leaving the backend out is a failure.
const built = Deno.env.get("COOPFLOW_EXPECT_CUDA") !== undefined ||
  [...Deno.readDirSync(dirname(PLUGIN))].some(({ name }) => PLUGIN.endsWith(name));
const absent = { ignore: !built, reason: "no CUDA toolkit when the library was built (scripts/cuda_toolkit.sh)" };

describe("the CUDA backend", absent, () => {
  it("loads, and opens a GPU or says that there is none", () => {
    assert(Deno.statSync(PLUGIN).isFile);
    try {
      using device = Device.open({ device: "cuda" });
      assertEquals(device.info.device, "cuda:0");
    } catch (error) {
      assert(error instanceof NativeError, String(error));
      assertEquals(error.code, STATUS.unsupported);
      assert(/no NVIDIA driver|finds no GPU/.test(error.message), error.message);
    }
  });

  it("compiles every kernel of the digits programs for A100 and H100", async () => {
    const folder = await Deno.makeTempDir();
    try {
      const files = await writePrograms(folder, 64);
      const { code, stdout, stderr } = await new Deno.Command(TEST, { args: files, stdout: "piped", stderr: "piped" })
        .output();
      const text = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
      assertEquals(code, 0, text);
      assertStringIncludes(text, "sm_80");
      assertStringIncludes(text, "sm_90");
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  });
});
