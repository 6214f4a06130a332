import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import sharp from "sharp";
import { evaluate } from "../../src/coopflow/evaluation.ts";
import type { TrainEvent } from "../../src/coopflow/events.ts";
import { CoopFlow } from "../../src/coopflow/model.ts";
import { type DisplayBundle, displayedEvent } from "../../src/coopflow/notebook.ts";
import { readAll } from "../../src/data/dataset.ts";
import { encodePng } from "../../src/io/png.ts";
import { withFolder } from "../io/support.ts";
import { THREADS } from "./native.ts";
import { TINY, tinyImages } from "./support.ts";

/** What Deno's kernel does with the value of a cell. */
async function show(value: object): Promise<DisplayBundle> {
  const method: unknown = Reflect.get(value, Symbol.for("Jupyter.display"));
  assert(typeof method === "function");
  const bundle: DisplayBundle = await Reflect.apply(method, value, []);
  for (const [type, content] of Object.entries(bundle)) {
    assert(["text/plain", "text/html", "image/png"].includes(type), type);
    assert(typeof content === "string" && content !== "");
  }
  assert(bundle["text/plain"] !== undefined && bundle["text/html"] !== undefined);
  // Pages in a frame have scripts, which know of what is undefined.
  const markup = bundle["text/html"].replaceAll(/(base64,|srcdoc=")[^"]*/g, "");
  assert(!/undefined|NaN/.test(markup), markup);
  return bundle;
}

/** Width and height of a bundle's picture, which is in its markup too. */
async function sizeOf(bundle: DisplayBundle): Promise<number[]> {
  const base64 = bundle["image/png"] ?? "";
  assertStringIncludes(bundle["text/html"] ?? "", `src="data:image/png;base64,${base64}"`);
  const { width, height, format } = await sharp(Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))).metadata();
  assertEquals(format, "png");
  return [width, height];
}

describe("in a notebook", () => {
  it("each result of a model shows as picture or table, and is otherwise as it was", async () => {
    await using model = await CoopFlow.create({ ...TINY, training: { ...TINY.training, iterations: 2 } }, THREADS);
    const events = await Array.fromAsync(model.fit(tinyImages()));
    const texts = await Promise.all(events.map(async (event) => (await show(event))["text/plain"] ?? ""));
    assertEquals(texts.map((text) => text.split(":")[0]), [
      "ready to learn",
      "iteration 1 of 2",
      "iteration 2 of 2",
      "finished",
    ]);
    assertStringIncludes(texts[2] ?? "", "bitsPerDim ");

    const samples = await model.sample(5);
    // Images of 4×4 enlarged to 40×40, 3×2 of them in each of two panels.
    const shown = await show(samples);
    assertEquals(await sizeOf(shown), [2 * (3 * 42 + 2) + 12, 2 * 42 + 2]);
    assertEquals(shown["text/plain"], "5 samples of 4×4×1: proposals | revised");
    assertEquals(Object.keys({ ...samples }), ["count", "height", "width", "channels", "proposals", "images"]);
    assert(!JSON.stringify(events[1]).includes("display"));
    for await (const batch of model.samples(2)) assertEquals((await sizeOf(await show(batch))).length, 2);

    // A row of 3 states for each chain.
    assertEquals(await sizeOf(await show(await model.trajectories(2))), [3 * 42 + 2, 2 * 42 + 2]);
    const images = readAll(tinyImages(2));
    await sizeOf(await show(await model.reconstruct(images, { iterations: 1 })));
    const hidden = Array.from({ length: 16 }, (_, i) => i < 8);
    await sizeOf(await show(await model.inpaint(images, hidden, { iterations: 1, completions: 2 })));
    assertEquals(await sizeOf(await show(await model.interpolate(2, { points: 3 }))), [3 * 42 + 2, 2 * 42 + 2]);
    assertStringIncludes((await show(await model.density(images)))["text/plain"] ?? "", "bits/dim ");
    assertStringIncludes((await show(await model.chain(2, { steps: 3 })))["text/html"] ?? "", "<table>");
    const found = await evaluate(model, tinyImages(8), { count: 8, metrics: ["likelihood", "energies"] });
    assertStringIncludes((await show(found))["text/html"] ?? "", '<iframe srcdoc="&lt;!doctype html&gt;');
  });

  it("each event of a run shows, pictures of samples as such", async () => {
    await withFolder(async (folder) => {
      const path = `${folder}/a.png`;
      await Deno.writeFile(path, encodePng({ width: 3, height: 2, channels: 1, data: new Uint8Array(6) }));
      const samples = displayedEvent({ type: "samples", iteration: 3, path } as const);
      assertEquals(await sizeOf(await show(samples)), [3, 2]);
      // Handed on by another generator.
      assertEquals(await sizeOf(await show(displayedEvent(samples))), [3, 2]);
      const frechet = { noise: 9, proposals: 0.7, revised: 0.4 };
      const events: TrainEvent[] = [
        { type: "checkpoint", iteration: 3, path },
        { type: "notice", message: "<b>" },
        { type: "warning", kind: "change", iteration: 3, message: "little", advice: "raise it" },
        { type: "measurement", iteration: 3, metric: "frechet", value: 0.4, isBest: true },
        { type: "report", report: { count: 10, heldout: 5, frechet, bitsPerDim: 2 } },
        { type: "profile", iterations: 3, profile: { entries: [], executions: [] } },
      ];
      const shown = await Promise.all(events.map((event) => show(displayedEvent(event))));
      assertStringIncludes(shown[1]?.["text/html"] ?? "", "&lt;b&gt;");
      assertStringIncludes(shown[3]?.["text/plain"] ?? "", "the best so far: frechet 0.4");
    });
  });
});
