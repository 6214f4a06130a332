import { describe, it } from "@std/testing/bdd";
import { assertEquals, assertRejects } from "@std/assert";
import { readCheckpoint, writeCheckpoint } from "../../src/coopflow/checkpoint.ts";
import { type CoopFlowConfig, parseConfig } from "../../src/coopflow/config.ts";
import { modelStates } from "../../src/coopflow/states.ts";
import { CheckpointError } from "../../src/errors.ts";
import { tensorOf, writeSafetensors } from "../../src/io/safetensors.ts";
import { withFolder } from "../io/support.ts";
import { TINY } from "./support.ts";

const config = parseConfig(TINY);
const counters = { iteration: 5, flowUpdates: 4, ebmUpdates: 5, initialised: true };

async function write(path: string, of: CoopFlowConfig = config): Promise<void> {
  await writeCheckpoint(path, { config: of, counters }, modelStates(of).all, (spec) => spec.init(1));
}

describe("checkpoints", () => {
  it("give back what was written, and the same bytes for the same model", async () => {
    await withFolder(async (folder) => {
      await write(`${folder}/a.safetensors`);
      await write(`${folder}/b.safetensors`);
      assertEquals(await Deno.readFile(`${folder}/a.safetensors`), await Deno.readFile(`${folder}/b.safetensors`));
      const read = await readCheckpoint(`${folder}/a.safetensors`);
      assertEquals(read.config, config);
      assertEquals(read.counters, counters);
      for (const spec of modelStates(config).all) assertEquals(read.values.get(spec.name), spec.init(1));
    });
  });

  it("hold the reference's names, averages and optimizer state", () => {
    const names = modelStates(config).all.map((spec) => spec.name);
    for (
      const name of [
        "flow.bounds",
        "flow.flows.checkers.0.mean",
        "ebm.f.0.weight",
        "ema.ebm.f.0.weight",
        "adam.v.ebm.f.0.weight",
      ]
    ) {
      assertEquals(names.filter((other) => other === name), [name]);
    }
    const plain = parseConfig({ ...TINY, training: { ...TINY.training, averaging: {} } });
    assertEquals(modelStates(plain).all.some((spec) => spec.name.startsWith("ema.")), false);
  });

  it("are refused when cut short anywhere", async () => {
    await withFolder(async (folder) => {
      const path = `${folder}/a.safetensors`;
      await write(path);
      const bytes = await Deno.readFile(path);
      for (const length of [0, 4, 100, Math.floor(bytes.length / 2), bytes.length - 1]) {
        await Deno.writeFile(path, bytes.subarray(0, length));
        await assertRejects(() => readCheckpoint(path), CheckpointError, path);
      }
    });
  });

  it("are refused when a bit of a tensor was turned", async () => {
    await withFolder(async (folder) => {
      const path = `${folder}/a.safetensors`;
      await write(path);
      const bytes = await Deno.readFile(path);
      const at = bytes.length - 50;
      bytes[at] = (bytes[at] ?? 0) ^ 1;
      await Deno.writeFile(path, bytes);
      await assertRejects(() => readCheckpoint(path), CheckpointError, "damaged");
    });
  });

  it("are refused when they are something else", async () => {
    await withFolder(async (folder) => {
      const path = `${folder}/a.safetensors`;
      await writeSafetensors(path, new Map([["x", tensorOf([1], new Float32Array(1))]]));
      await assertRejects(() => readCheckpoint(path), CheckpointError, "expected a checkpoint of format");
      await assertRejects(() => readCheckpoint(`${folder}/none`), CheckpointError, "no such file");
    });
  });

  it("are refused when the tensors are another architecture's", async () => {
    await withFolder(async (folder) => {
      const path = `${folder}/a.safetensors`;
      const other = parseConfig({ ...TINY, energy: { channels: 8 } });
      await writeCheckpoint(path, { config, counters }, modelStates(other).all, (spec) => spec.init(1));
      await assertRejects(() => readCheckpoint(path), CheckpointError, "expected F32 of shape");
    });
  });
});
