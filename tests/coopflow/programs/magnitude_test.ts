import { assert, assertAlmostEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { energyGradients, energyUpdate } from "../../../src/coopflow/programs/updates.ts";
import { ENERGY_DEFAULTS } from "../../../src/energy/config.ts";
import { createEnergy } from "../../../src/energy/network.ts";
import { feed, mul } from "../../../src/graph/build.ts";
import { Graph } from "../../../src/graph/graph.ts";
import { Params } from "../../../src/nn/params.ts";
import { gaussian, randomStates, type Tensors } from "../../flow/support.ts";
import { interpret } from "../../support/interpreter.ts";

const SHAPE = [3, 4, 4, 1];
const ALPHA = 0.3;

/** The update of a small energy network, its gradients fetched under the parameters' names. */
function update(magnitude: number, shift: boolean) {
  const g = new Graph();
  const energy = createEnergy(new Params(g, "ebm."), {
    ...ENERGY_DEFAULTS,
    height: 4,
    width: 4,
    channelsIn: 1,
    channels: 2,
    shift,
  });
  const gradients = energyGradients(energy, feed(g, "revised", SHAPE), feed(g, "data", SHAPE), magnitude);
  const { report, parts, norm } = energyUpdate(energy, gradients, SHAPE[0]!);
  for (const [name, value] of Object.entries(report)) g.fetch(name, value);
  g.fetch("norm", norm);
  for (const { param, gradient, factor } of parts) g.fetch(param.spec.name, factor ? mul(gradient, factor) : gradient);
  const { specs } = energy.params;
  const feeds = { revised: gaussian("revised", 48), data: gaussian("data", 48), ebm_clip: [Infinity] };
  return { specs, run: (states: Tensors) => interpret(g, { feeds, states }).fetches };
}

describe("training.ebm.magnitude", () => {
  for (const shift of [false, true]) {
    it(`adds α·(mean f(x̃)² + mean f(x)²) and its gradient${shift ? ", the shift's too" : ""}`, () => {
      const { specs, run } = update(ALPHA, shift);
      const states = randomStates(specs);
      const found = run(states);
      const loss = (at: Tensors): number => {
        const { ebm_loss, ebm_magnitude } = run(at);
        return ebm_loss![0]! + ebm_magnitude![0]!;
      };
      let squares = 0;
      for (const { name } of specs) {
        const direction = gaussian(`${name} direction`, states[name]!.length);
        const moved = (by: number): Tensors => ({
          ...states,
          [name]: states[name]!.map((v, i) => v + by * direction[i]!),
        });
        const slope = (loss(moved(1e-5)) - loss(moved(-1e-5))) / 2e-5;
        const gradient = found[name]!;
        assertAlmostEquals(
          gradient.reduce((s, v, i) => s + v * direction[i]!, 0),
          slope,
          1e-5 * (1 + Math.abs(slope)),
          name,
        );
        squares += gradient.reduce((s, v) => s + v * v, 0);
      }
      assertAlmostEquals(found["norm"]![0]!, Math.sqrt(squares), 1e-9);
    });
  }

  it("is α times the mean squares of the energies", () => {
    const { specs, run } = update(ALPHA, false);
    const states = randomStates(specs);
    const found = run(states);
    const means = update(1, false).run(states);
    assertAlmostEquals(found["ebm_magnitude"]![0]!, ALPHA * means["ebm_magnitude"]![0]!, 1e-6);
    assert(means["ebm_magnitude"]![0]! >= means["f_revised"]![0]! ** 2 + means["f_data"]![0]! ** 2);
    assertAlmostEquals(found["ebm_loss"]![0]!, found["f_revised"]![0]! - found["f_data"]![0]!, 1e-12);
  });
});
