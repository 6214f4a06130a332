import { assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { kindOf } from "../../src/cli/parity/cases.ts";
import { compare, worst } from "../../src/cli/parity/compare.ts";
import type { Execute } from "../../src/cli/parity/execute.ts";
import { nchwToNhwc } from "../../src/cli/parity/learning.ts";
import { formula, paperParameter } from "../../src/cli/parity/paper.ts";
import { formatResult, parity } from "../../src/cli/parity/parity.ts";
import { DataError } from "../../src/errors.ts";
import { tensorOf, writeSafetensors } from "../../src/io/safetensors.ts";
import { interpret } from "../support/interpreter.ts";

const execute: Execute = (graph, feeds, states) => interpret(graph, { feeds, states });

/** A case that is right by construction, before `change`. */
function reshapesFile(
  change: (name: string, data: Float32Array) => Float32Array,
): Record<string, { shape: number[]; data: Float32Array }> {
  const x = Float32Array.from({ length: 8 }, (_, i) => i + 71);
  const tensors: Record<string, { shape: number[]; data: number[] }> = {
    x: { shape: [1, 2, 2, 2], data: [...x] },
    "checkerboard.first": { shape: [1, 2, 2, 1], data: [71, 74, 75, 78] },
    "checkerboard.second": { shape: [1, 2, 2, 1], data: [72, 73, 76, 77] },
    squeeze: { shape: [1, 8, 1, 1], data: [...x] },
    "channelwise.first": { shape: [1, 2, 2, 2], data: [...x] },
    concat_elu: { shape: [1, 4, 2, 2], data: [...x].map((v) => v - 70).concat([...x].map((v) => Math.expm1(70 - v))) },
  };
  return Object.fromEntries(
    Object.entries(tensors).map((
      [name, { shape, data }],
    ) => [name, { shape, data: change(name, Float32Array.from(data)) }]),
  );
}

async function run(files: Record<string, ReturnType<typeof reshapesFile> | string>): Promise<string[]> {
  const dir = await Deno.makeTempDir();
  try {
    for (const [name, content] of Object.entries(files)) {
      if (typeof content === "string") await Deno.writeTextFile(`${dir}/${name}`, content);
      else {
        const tensors = Object.entries(content).map(([key, { shape, data }]) => [key, tensorOf(shape, data)] as const);
        await writeSafetensors(`${dir}/${name}`, new Map(tensors));
      }
    }
    const lines: string[] = [];
    await parity(dir, { execute, print: (line) => lines.push(line) });
    return lines;
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

describe("parity", () => {
  const right = reshapesFile((_, data) => data);

  it("passes, fails, skips and counts", async () => {
    const wrong = reshapesFile((name, data) => (name === "squeeze" ? data.map((v, i) => (i === 3 ? v + 1 : v)) : data));
    const lines = await run({
      "README.md": "what this is",
      "index.json": "{}",
      "reshapes.safetensors": right,
      "reshapes_2.safetensors": wrong,
      "checkpoint_2.safetensors": right,
      "checkpoint.pth.tar": "x",
      "checkpoint.safetensors": right,
    });
    assertEquals(lines[0]!.startsWith("FAIL checkpoint  "), true, lines[0]);
    assertEquals(lines[1], "skipped checkpoint_2  expected checkpoint_2.pth.tar beside it, found none");
    assertEquals(lines[2]!.startsWith("ok reshapes  worst "), true, lines[2]);
    assertEquals(lines[3], "FAIL reshapes_2  squeeze: 1.3e-2 over 3e-5 (at 3: expected 75, found 74)");
    assertEquals(lines[4], "1 passed, 2 failed, 1 skipped");
  });

  it("fails on a case it does not know, and on files that are not golden", async () => {
    const lines = await run({ "sorting.safetensors": right, "reshapes.safetensors": "not tensors", "notes.txt": "" });
    assertEquals(lines[0], "FAIL notes  expected a case of a known kind, found none of this name");
    assertEquals(lines[1]!.startsWith("FAIL reshapes  "), true, lines[1]);
    assertEquals(lines[2], "FAIL sorting  expected a case of a known kind, found none of this name");
    assertEquals(lines[3], "0 passed, 3 failed, 0 skipped");
  });

  it("fails on tensors that nothing compares, and on missing ones", async () => {
    const { squeeze, ...rest } = right;
    const lines = await run({
      "reshapes.safetensors": { ...right, "out.more": squeeze! },
      "reshapes_3.safetensors": rest,
    });
    assertEquals(lines[0], "FAIL reshapes  expected every tensor to be compared, found unknown out.more");
    assertEquals(lines[1]!.startsWith('FAIL reshapes_3  expected a tensor "squeeze"'), true, lines[1]);
  });

  it("refuses a folder that is missing or empty", async () => {
    const print = (): void => {};
    await assertRejects(
      () => parity("/nonexistent", { execute, print }),
      DataError,
      "expected a folder of golden tensors",
    );
    const dir = await Deno.makeTempDir();
    await assertRejects(() => parity(dir, { execute, print }), DataError, "expected golden files");
    await Deno.remove(dir);
  });
});

describe("kindOf", () => {
  it("takes the longest kind that the name begins with", () => {
    assertEquals(kindOf("gated_conv")?.kind, "gated_conv");
    assertEquals(kindOf("gated_conv_aux")?.kind, "gated_conv_aux");
    assertEquals(kindOf("gated_conv_seed7")?.kind, "gated_conv");
    assertEquals(kindOf("coupling_network-2")?.kind, "coupling_network");
    assertEquals(kindOf("flow_celeba_32")?.kind, "flow_celeba");
    assertEquals(kindOf("flower"), undefined);
  });
});

describe("compare", () => {
  const tolerance = { relative: 1e-3 };

  it("measures relative to the largest expected value", () => {
    const { error, limit, ratio, at } = compare({ name: "y", found: [1, 2.01], expected: [1, 2], tolerance });
    assertAlmostEquals(error, 0.005, 1e-12);
    assertAlmostEquals(ratio, 5, 1e-9);
    assertEquals([limit, at], [1e-3, 1]);
  });

  it("takes the kinder of two limits", () => {
    assertEquals(
      compare({ name: "y", found: [0.01], expected: [0], tolerance: { relative: 1e-5, absolute: 0.1 } }).limit,
      0.1,
    );
  });

  it("finds NaN, infinities, and wrong lengths infinitely far off", () => {
    for (const found of [[NaN, 1], [Infinity, 1], [1], [1, 1, 1]]) {
      assertEquals(compare({ name: "y", found, expected: [1, 1], tolerance }).ratio, Infinity);
    }
    assertEquals(compare({ name: "y", found: [0], expected: [0], tolerance }).ratio, 0);
    assertEquals(compare({ name: "y", found: [1e-9], expected: [0], tolerance }).ratio, Infinity);
  });

  it("and worst picks the one furthest over its limit", () => {
    const a = compare({ name: "a", found: [1.001], expected: [1], tolerance: { relative: 1 } });
    const b = compare({ name: "b", found: [1.0001], expected: [1], tolerance: { relative: 1e-6 } });
    assertEquals(worst([a, b])?.name, "b");
    assertEquals(worst([]), undefined);
    assertEquals(
      formatResult({ status: "passed", name: "flow", worst: { ...a, error: 3.1e-6, limit: 3e-5, name: "out.z" } }),
      "ok flow  worst 3.1e-6 of 3e-5 (out.z)",
    );
  });
});

describe("the formula of paper-size weights", () => {
  it("is a hash of element and tensor", () => {
    const u = formula(1000, 3, 12345);
    assertEquals(u.every((v) => v >= -0.5 && v < 0.5), true);
    // Element 0 of tensor 0 with salt 1 starts from h = 1, whose first shift changes nothing.
    let h = 1;
    h = Math.imul(h, 0x7feb352d) >>> 0;
    h = Math.imul((h ^ (h >>> 15)) >>> 0, 0x846ca68b) >>> 0;
    h = (h ^ (h >>> 16)) >>> 0;
    assertEquals(formula(1, 0, 1)[0], h / 2 ** 32 - 0.5);
  });

  it("gives each kind of parameter its scale", () => {
    const near = (name: string, shape: number[], centre: number, radius: number): void =>
      paperParameter(name, shape, 5, 1).forEach((v) => assertAlmostEquals(v, centre, radius));
    near("nn.in_conv.conv.weight_v", [4, 3, 3, 3], 0, 0.05);
    near("nn.in_conv.conv.weight_g", [4, 1, 1, 1], 1, 0.1);
    near("mid_convs.0.norm_1.weight", [8], 1, 0.1);
    near("mid_convs.0.norm_1.bias", [8], 0, 0.1);
    near("f.0.weight", [8, 3, 3, 3], 0, 2 / Math.sqrt(27));
    const w = paperParameter("flows.1.weight", [2, 2], 5, 1);
    assertAlmostEquals(w[0]!, 1, 0.1);
    assertAlmostEquals(w[1]!, 0, 0.1);
  });
});

describe("nchwToNhwc", () => {
  it("moves channels last", () => {
    assertEquals([...nchwToNhwc({ shape: [1, 2, 1, 3], data: Float32Array.of(1, 2, 3, 4, 5, 6) })], [1, 4, 2, 5, 3, 6]);
  });
});
