import { assert, assertEquals, assertRejects } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { type Checkpoint, readCheckpoint, writeCheckpoint } from "../../src/coopflow/checkpoint.ts";
import { type CoopFlowConfigInput, parseConfig } from "../../src/coopflow/config.ts";
import { exportReference } from "../../src/coopflow/reference_export.ts";
import { importReference } from "../../src/coopflow/reference_import.ts";
import { referenceOrder } from "../../src/coopflow/reference_order.ts";
import { modelStates } from "../../src/coopflow/states.ts";
import { CheckpointError, ConfigError, UsageError } from "../../src/errors.ts";
import { readSafetensors, tensorOf, writeSafetensors } from "../../src/io/safetensors.ts";
import { TorchFile } from "../../src/io/torch_file.ts";
import { PickleDict } from "../../src/io/pickle_values.ts";
import { type TorchValue, writeTorch } from "../../src/io/torch_write.ts";
import { uniforms } from "../../src/random.ts";
import { withFolder } from "../io/support.ts";
import { TINY } from "./support.ts";

const VARIATIONAL = {
  ...TINY,
  data: { height: 8, width: 8, channels: 1, levels: 17 },
  flow: { ...TINY.flow, dequantization: "variational" },
} as const;

/** A model whose every number is another, after some updates. */
function learnt(input: CoopFlowConfigInput): Checkpoint {
  const config = parseConfig(input);
  const values = new Map(
    modelStates(config).all.map((spec) => {
      const { name, shape } = spec;
      const size = shape.reduce((a, b) => a * b, 1);
      return [name, name.endsWith("is_initialized") ? Float32Array.of(1) : Float32Array.from(uniforms(1, name, size))];
    }),
  );
  return { config, counters: { iteration: 5, flowUpdates: 4, ebmUpdates: 5, initialised: true }, values };
}

const live = (checkpoint: Checkpoint): [string, Float32Array][] =>
  [...checkpoint.values].filter(([name]) => !name.startsWith("ema."));
const networks = (checkpoint: Checkpoint): [string, Float32Array][] =>
  live(checkpoint).filter(([name]) => !name.startsWith("adam."));

describe("reference checkpoints", () => {
  it("come back whole, as .pth.tar with optimizers", async () => {
    await withFolder(async (folder) => {
      const simple = (["affine", "additive"] as const).map((coupling) => ({
        ...TINY,
        flow: { ...TINY.flow, coupling },
      }));
      for (const input of [TINY, VARIATIONAL, ...simple]) {
        const checkpoint = learnt(input);
        const path = `${folder}/x.pth.tar`;
        await exportReference(path, checkpoint, { optimizers: true, dataParallel: true, epoch: 3 });
        const back = await importReference(path);
        assertEquals(back.checkpoint.config, checkpoint.config);
        assertEquals(back.checkpoint.counters, checkpoint.counters);
        assertEquals(live(back.checkpoint), live(checkpoint));
        assertEquals(back.notices, []);
      }
    });
  });

  it("hold the averages, unless the live parameters are asked for", async () => {
    await withFolder(async (folder) => {
      const checkpoint = learnt(TINY);
      for (const name of ["x.safetensors", "x.pth"]) {
        await exportReference(`${folder}/${name}`, checkpoint, { liveParameters: true });
        assertEquals(networks((await importReference(`${folder}/${name}`)).checkpoint), networks(checkpoint));
        await exportReference(`${folder}/${name}`, checkpoint);
        const { checkpoint: averaged, notices } = await importReference(`${folder}/${name}`);
        const expected = networks(checkpoint).map(([key]) => [key, checkpoint.values.get(`ema.${key}`)]);
        assertEquals(networks(averaged), expected);
        // Averages begin at what was imported, moments at 0.
        assertEquals(averaged.values.get("ema.ebm.f.0.weight"), averaged.values.get("ebm.f.0.weight"));
        assert(averaged.values.get("adam.m.ebm.f.0.weight")?.every((v) => v === 0));
        assertEquals(averaged.counters, { iteration: 0, flowUpdates: 0, ebmUpdates: 0, initialised: true });
        assertEquals(notices.length, 1);
      }
      const { tensors } = await readSafetensors(`${folder}/x.safetensors`);
      assertEquals(tensors.get("flow.flows.checkers.0.mean")?.shape, [1, 2, 1, 1]);
    });
  });

  it("tell their architecture by names and shapes", async () => {
    await withFolder(async (folder) => {
      const variants: CoopFlowConfigInput[] = [
        VARIATIONAL,
        { ...VARIATIONAL, flow: { ...VARIATIONAL.flow, coupling: "affine", components: 32 } },
        { ...VARIATIONAL, flow: { ...VARIATIONAL.flow, coupling: "additive", components: 32 } },
        { ...VARIATIONAL, energy: { channels: 2, kind: "plain", shift: true } },
        { ...VARIATIONAL, energy: { channels: 2, kind: "deep", blocks: 2 } },
        { ...VARIATIONAL, energy: { channels: 2, kind: "spectral", blocks: 1 } },
        { ...VARIATIONAL, data: { ...VARIATIONAL.data, channels: 3 }, flow: { ...VARIATIONAL.flow, attention: false } },
        { ...VARIATIONAL, flow: { ...VARIATIONAL.flow, scales: [[0, 0], [2, 3], [1, 0]], dequantAttention: false } },
        {
          data: { height: 64, width: 64 },
          flow: { channels: 8, blocks: 2, components: 4, invConv: false, dropout: 0, scales: [[0, 0], [0, 1]] },
          energy: { channels: 2 },
        },
      ];
      for (const input of variants) {
        const checkpoint = learnt(input);
        const tensors = networks(checkpoint).map(([name, value]) => {
          const { shape } = modelStates(checkpoint.config).all.find((spec) => spec.name === name)!;
          return [name, tensorOf(shape, value)] as const;
        });
        await writeSafetensors(`${folder}/x.safetensors`, new Map(tensors));
        const { config } = (await importReference(`${folder}/x.safetensors`)).checkpoint;
        const expected = { ...checkpoint.config, data: { ...checkpoint.config.data, levels: 256 } };
        const parts = (c: typeof config) => ({ ...c.flow, dropout: 0, ...c.data, ...c.energy });
        assertEquals(parts(config), parts(expected));
      }
    });
  });

  it("may hold one network alone, or a flow under another name", async () => {
    await withFolder(async (folder) => {
      const checkpoint = learnt(VARIATIONAL);
      const path = `${folder}/x.pth.tar`;
      await exportReference(path, checkpoint, { liveParameters: true });
      await using file = await TorchFile.open(path);
      const part = async (key: string): Promise<TorchValue> => {
        const entries = [...((file.value as PickleDict).entries.get(key) as PickleDict).entries];
        return new Map(
          await Promise.all(entries.map(async ([k, t]) => [k as string, await file.read(t as never)] as const)),
        );
      };
      const config = { ...VARIATIONAL, seed: 9 };
      await writeTorch(`${folder}/flow`, new Map([["net", await part("flow_net")]]));
      const flow = await importReference(`${folder}/flow`, { config });
      assertEquals(flow.checkpoint.values.get("flow.bounds"), checkpoint.values.get("flow.bounds"));
      assert(flow.notices.some((notice) => notice.includes("no energy network")));
      await writeTorch(`${folder}/ebm`, new Map([["ebm_net", await part("ebm_net")]]));
      const ebm = await importReference(`${folder}/ebm`, { config });
      assertEquals(ebm.checkpoint.counters.initialised, false);
      await writeTorch(`${folder}/none`, new Map([["epoch", 1]]));
      await assertRejects(() => importReference(`${folder}/none`), CheckpointError, "found neither");
      await writeTorch(`${folder}/list`, [1]);
      await assertRejects(() => importReference(`${folder}/list`), CheckpointError, "expected a dictionary");
      await writeTorch(`${folder}/text`, new Map([["flow_net", "x"]]));
      await assertRejects(
        () => importReference(`${folder}/text`),
        CheckpointError,
        "flow_net: expected a state dictionary",
      );
    });
  });

  it("list what is missing, unexpected or of another shape", async () => {
    await withFolder(async (folder) => {
      const checkpoint = learnt(TINY);
      const path = `${folder}/x.safetensors`;
      await exportReference(path, checkpoint);
      const error = await assertRejects(
        () =>
          importReference(path, {
            config: { ...TINY, flow: { ...TINY.flow, components: 3, blocks: 2, scales: [[0, 1]] } },
          }),
        CheckpointError,
        "missing: flow.flows.checkers.2.nn.mid_convs.1.conv.conv.conv.bias, ",
      );
      for (
        const part of [
          "unexpected: flow.flows.next.channels.0.inv_std, ",
          "of another shape: flow.flows.checkers.2.nn.out_conv.conv.bias (expected [11], found [8])",
        ]
      ) assert(error.message.includes(part), error.message);
      assert(!error.message.includes("\n"));
      // Not of each of thousands of tensors, and nothing of optimizers, whose states can't fit either.
      assert(error.message.length < 1000 && !error.message.includes("adam."), error.message);
      await assertRejects(() => importReference(path, { config: { data: { height: 5 } } }), ConfigError, "data.height");
      const tensors = await readSafetensors(path);
      await writeSafetensors(path, tensors.tensors, new Map([["coopflow_config", "{"]]));
      await assertRejects(() => importReference(path), CheckpointError, "the configuration in it can't be used");
      await assertRejects(() => exportReference(`${folder}/x.zip`, checkpoint), UsageError, "FILE.pth.tar");
      await assertRejects(() => exportReference(path, checkpoint, { epoch: 1 }), UsageError, "epoch: expected a file");
    });
  });

  it("number the optimizers' parameters as the reference does", () => {
    const order = referenceOrder(parseConfig({}));
    // 445 gains, then the other 1,212 (of the paper's networks).
    assertEquals([order.gains, order.flow.length], [445, 1657]);
    assertEquals(order.flow[0], "flow.dequant_flows.aux_conv.1.conv.conv.weight_g");
    assertEquals(order.flow[445], "flow.dequant_flows.aux_conv.0.weight");
    assertEquals(order.ebm.slice(0, 4), [
      "ebm.f.0.weight",
      "ebm.f.0.bias",
      "ebm.f.2.conv1.weight",
      "ebm.f.2.conv1.bias",
    ]);
  });

  it("become checkpoints of this library", async () => {
    await withFolder(async (folder) => {
      const { config, counters, values } = learnt(TINY);
      const states = modelStates(config).all;
      await writeCheckpoint(`${folder}/a`, { config, counters }, states, ({ name }) => values.get(name)!);
      await exportReference(`${folder}/b.pt`, await readCheckpoint(`${folder}/a`), { optimizers: true });
      assertEquals(live((await importReference(`${folder}/b.pt`)).checkpoint), live({ config, counters, values }));
    });
  });
});
