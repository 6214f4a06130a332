import { assert, assertEquals, assertMatch, assertRejects, assertStringIncludes } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { type Checkpoint, readCheckpoint } from "../../src/coopflow/checkpoint.ts";
import type { CoopFlowConfigInput } from "../../src/coopflow/config.ts";
import { Engine } from "../../src/coopflow/engine.ts";
import type { FitEvent } from "../../src/coopflow/events.ts";
import { CoopFlow } from "../../src/coopflow/model.ts";
import { firstNotFinite } from "../../src/coopflow/not_finite.ts";
import { presets } from "../../src/coopflow/presets.ts";
import { learnScalars } from "../../src/coopflow/schedule.ts";
import { modelStates } from "../../src/coopflow/states.ts";
import { CoopFlowError } from "../../src/errors.ts";
import { type Dataset, readImages } from "../../src/data/dataset.ts";
import { uniformNoise } from "../../src/data/derived.ts";
import { withFolder } from "../io/support.ts";
import { THREADS } from "./native.ts";
import { TINY, tinyImages } from "./support.ts";

function saved(model: CoopFlow): Promise<Checkpoint> {
  return withFolder(async (folder) => {
    await model.save(`${folder}/model.safetensors`);
    return await readCheckpoint(`${folder}/model.safetensors`);
  });
}

/** What a model is after an iteration. */
async function learnt(config: CoopFlowConfigInput, data: Dataset): Promise<Checkpoint> {
  await using model = await CoopFlow.create(config, THREADS);
  for await (const _ of model.fit(data, { iterations: 1 }));
  return await saved(model);
}

/** A model after an iteration, the last value of some tensors made what it should not be. */
async function spoilt(
  wrong: Readonly<Record<string, number>>,
  training: CoopFlowConfigInput["training"] = {},
): Promise<CoopFlow> {
  const checkpoint = await learnt({ ...TINY, training: { ...TINY.training, ...training } }, tinyImages());
  for (const [name, value] of Object.entries(wrong)) {
    const tensor = checkpoint.values.get(name);
    assert(tensor !== undefined, name);
    tensor[tensor.length - 1] = value;
  }
  return CoopFlow.fromCheckpoint(checkpoint, THREADS);
}

async function fit(model: CoopFlow, iterations: number): Promise<FitEvent[]> {
  return await Array.fromAsync(model.fit(tinyImages(), { iterations }));
}

describe("a value that is not finite", () => {
  it("is named, the first of an iteration's, and where it came up if that is known", async () => {
    const fetches = {
      change: Float32Array.of(0.1),
      flow_nll: Float32Array.of(NaN),
      ebm_loss: Float32Array.of(Infinity),
    };
    assertEquals(await firstNotFinite({ change: Float32Array.of(0.1) }), undefined);
    const what = "the flow's negative log-likelihood (flow_nll) is NaN first";
    assertEquals(await firstNotFinite(fetches), what);
    assertEquals(await firstNotFinite(fetches, () => Promise.resolve(undefined)), what);
    const found = { op: "conv", name: "langevin.ebm.f.2.conv1", loops: [3], value: "Infinity" } as const;
    assertEquals(
      await firstNotFinite(fetches, () => Promise.resolve(found)),
      `${what}, which began as Infinity in layer langevin.ebm.f.2.conv1 (conv) in step 4`,
    );
  });

  it("ends learning, which says in which layer it began", async () => {
    const cases: [Record<string, number>, RegExp][] = [
      [
        { "ebm.f.0.bias": NaN },
        /energy of the proposals \(f_proposal\) is NaN first, which began as NaN in layer (langevin\.)?ebm\.f\.0 /,
      ],
      [
        { "flow.flows.checkers.2.nn.in_conv.conv.bias": NaN },
        /which began as NaN in layer flow\.flows\.checkers\.2\.nn\.in_conv\.conv /,
      ],
      [
        { "flow.flows.next.channels.0.inv_std": Infinity },
        /the parameter flow\.flows\.next\.channels\.0\.inv_std holds Infinity/,
      ],
    ];
    for (const [values, message] of cases) {
      await using model = await spoilt(values);
      const error = await assertRejects(() => fit(model, 3), CoopFlowError, "iteration 2: expected finite values");
      assertMatch(error.message, message);
      assertEquals(model.counters.iteration, 1);
    }
  });

  it("is told of in a warning where learning goes on, and looking for it changes nothing", async () => {
    await using model = await spoilt({ "flow.flows.checkers.2.nn.in_conv.conv.bias": NaN }, { stopOnNaN: false });
    const before = (await saved(model)).values;
    const warnings = (await fit(model, 4)).filter(({ type }) => type === "warning");
    assertEquals(warnings.length, 1);
    assertStringIncludes(JSON.stringify(warnings[0]), "began as NaN in layer flow.flows.checkers.2.nn.in_conv.conv");
    assertEquals(model.counters.iteration, 4);
    assertEquals((await saved(model)).values, before);
  });

  it("is found nowhere in iterations that are fine", async () => {
    const { digits, small } = presets;
    for (const { data, flow, energy, langevin } of [digits, { ...small, flow: { ...small.flow, components: 4 } }]) {
      const { height, width, channels } = data;
      const images = uniformNoise({ height, width, channels, levels: 256, count: 4 }, 0);
      for (const phase of ["coop", "flow", "ebm"] as const) {
        const training = { phase, batch: 2, initialisationImages: 4 };
        const given = { data: { ...data, levels: 256 }, flow, energy, langevin: { ...langevin, steps: 2 }, training };
        const { config, counters, values } = await learnt(given, images);
        using engine = Engine.open(THREADS, modelStates(config).all, ({ name }) => values.get(name));
        const program = await engine.program("learn", { kind: "learn", config });
        const step_size = config.langevin.stepSize;
        const feeds = { step_size, data: readImages(images, 0, 2), key: Uint32Array.of(0, 0, 0, 0) };
        assertEquals(
          await engine.watch(program, { ...learnScalars(config, counters), ...feeds }, undefined),
          undefined,
          `${height} ${phase}`,
        );
      }
    }
  });
});
