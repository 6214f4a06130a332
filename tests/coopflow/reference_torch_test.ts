// Checkpoints through PyTorch itself, where a Python with it is found: COOPFLOW_PYTHON, else python3.

import { existsSync } from "node:fs";
import { assert, assertEquals, assertLess } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { compare } from "../../src/cli/parity/compare.ts";
import { NativeExecutor } from "../../src/cli/parity/native_executor.ts";
import { nchwToNhwc } from "../../src/cli/parity/learning.ts";
import { TOLERANCES } from "../../src/cli/parity/tolerances.ts";
import { energyConfigOf, flowConfigOf } from "../../src/coopflow/config.ts";
import { density } from "../../src/coopflow/programs/density.ts";
import { exportReference } from "../../src/coopflow/reference_export.ts";
import { importReference } from "../../src/coopflow/reference_import.ts";
import { PickleDict, type PickleValue } from "../../src/io/pickle_values.ts";
import { tensorOf, toFloat32 } from "../../src/io/tensor.ts";
import { TorchFile } from "../../src/io/torch_file.ts";
import { TorchTensor } from "../../src/io/torch_values.ts";
import { writeTorch } from "../../src/io/torch_write.ts";
import { normals, uniforms } from "../../src/random.ts";
import { withFolder } from "../io/support.ts";
import { THREADS } from "./native.ts";

const SHARED = new URL("../../../shared", import.meta.url).pathname;
const CHECKPOINT = `${SHARED}/golden/checkpoint.pth.tar`;
const SCRIPT = new URL("./reference_torch.py", import.meta.url).pathname;
const PYTHON = Deno.env.get("COOPFLOW_PYTHON") ?? "python3";

function runs(args: readonly string[]): boolean {
  try {
    return new Deno.Command(PYTHON, { args: [...args], stdout: "null", stderr: "null" }).outputSync().success;
  } catch {
    return false;
  }
}

const absent = !existsSync(CHECKPOINT)
  ? { ignore: true, reason: "no golden tensors beside the repository (../shared/golden)" }
  : { ignore: !runs(["-c", "import torch"]), reason: "no Python with PyTorch (COOPFLOW_PYTHON)" };

async function valuesOf(path: string): Promise<Map<string, unknown>> {
  await using file = await TorchFile.open(path);
  const read = async (value: PickleValue): Promise<unknown> =>
    value instanceof TorchTensor ? toFloat32(await file.read(value)) : value;
  assert(file.value instanceof PickleDict);
  const entries = [...file.value.entries].map(async ([key, value]) => [String(key), await read(value)] as const);
  return new Map(await Promise.all(entries));
}

describe("PyTorch", absent, () => {
  it("opens what was exported, computes the same with it, and is read in each of its formats", async () => {
    await withFolder(async (folder) => {
      const { checkpoint } = await importReference(CHECKPOINT);
      const counters = { ...checkpoint.counters, flowUpdates: 3, ebmUpdates: 4 };
      await exportReference(`${folder}/exported.pth.tar`, { ...checkpoint, counters }, {
        optimizers: true,
        dataParallel: true,
        epoch: 7,
      });
      const shape = [4, 1, 8, 8];
      const data = Float32Array.from(uniforms(1, "data", 256), (u) => Math.floor(u * 256) / 255 * 2 - 1);
      const eps = Float32Array.from(normals(1, "eps", 256));
      const inputs = new Map([["data", tensorOf(shape, data)], ["eps", tensorOf(shape, eps)]]);
      await writeTorch(`${folder}/inputs.pth.tar`, inputs);
      const classes = existsSync(`${SHARED}/peer/torch_coopflow.py`) ? `${SHARED}/peer` : "";
      const { success, stderr } = await new Deno.Command(PYTHON, { args: [SCRIPT, folder, classes] }).output();
      assert(success, new TextDecoder().decode(stderr));

      const found = await valuesOf(`${folder}/found.zip.pth`);
      const legacy = await valuesOf(`${folder}/found.legacy.pth`);
      assertEquals([found.get("epoch"), found.get("flow_steps"), found.get("ebm_steps")], [7, 3, 4]);
      for (const key of ["z", "energy"]) assertEquals(legacy.get(key), found.get(key));
      if (classes === "") return;

      const { config, values } = checkpoint;
      const given = { flow: flowConfigOf(config), energy: energyConfigOf(config), batch: 4, given: ["eps"] as const };
      using executor = new NativeExecutor(THREADS);
      const feeds = { data: nchwToNhwc({ shape, data }), eps: nchwToNhwc({ shape, data: eps }) };
      const { fetches } = await executor.execute(density(given).graph, feeds, Object.fromEntries(values));
      const z = nchwToNhwc({ shape, data: found.get("z") as Float32Array });
      for (const [name, expected] of [["z", z], ["energy", found.get("energy") as Float32Array]] as const) {
        const { ratio } = compare({ name, found: fetches[name] ?? [], expected, tolerance: TOLERANCES.output });
        assertLess(ratio, 1, name);
      }
    });
  });

  it("is read whatever the pickle's protocol and the numbers' precision", async () => {
    await withFolder(async (folder) => {
      const { checkpoint } = await importReference(CHECKPOINT);
      await exportReference(`${folder}/exported.pth.tar`, checkpoint, { optimizers: true });
      await writeTorch(`${folder}/inputs.pth.tar`, new Map());
      const { success, stderr } = await new Deno.Command(PYTHON, { args: [SCRIPT, folder, ""] }).output();
      assert(success, new TextDecoder().decode(stderr));
      for (const protocol of [2, 3, 4, 5]) {
        const mixed = await valuesOf(`${folder}/mixed.${protocol}.pth`);
        assertEquals(mixed.get("half"), Float32Array.of(0, 3, 1, 4, 2, 5));
        assertEquals(mixed.get("bfloat"), Float32Array.of(0, 1, 2));
        assertEquals([...(mixed.get("net") as PickleDict).entries.keys()], ["module.0.weight", "module.0.bias"]);
      }
    });
  });
});
