import { describe, it } from "@std/testing/bdd";
import { assert, assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import { DataError } from "../../src/errors.ts";
import { OnnxFeatures, prepared } from "../../src/metrics/onnx_features.ts";
import { uniforms } from "../../src/random.ts";
import { withFolder } from "../io/support.ts";
import { means } from "./onnx_model.ts";

describe("prepared", () => {
  const from = { height: 2, width: 2, channels: 1 };
  const image = Float32Array.of(-1, 1, 0, 0.5);

  it("maps values, repeats grey, orders channels", () => {
    const to = { layout: "NCHW", channels: 3, height: 2, width: 2 } as const;
    const once = [0, 255, 127.5, 191.25];
    assertEquals([...prepared(image, 1, from, to, [0, 255])], [...once, ...once, ...once]);
    const last = prepared(image, 1, from, { ...to, layout: "NHWC" }, [0, 1]);
    assertEquals([...last], [0, 0, 0, 1, 1, 1, 0.5, 0.5, 0.5, 0.75, 0.75, 0.75]);
  });

  it("resizes as PyTorch's interpolate does", () => {
    // torch.nn.functional.interpolate(torch.tensor([[[[-1., 1.], [0., .5]]]]), size=(3, 4), mode="bilinear", align_corners=False)
    const expected = [-1, -0.5, 0.5, 1, -0.5, -0.1875, 0.4375, 0.75, 0, 0.125, 0.375, 0.5];
    const to = { layout: "NCHW", channels: 1, height: 3, width: 4 } as const;
    prepared(image, 1, from, to, [-1, 1]).forEach((value, i) => assertAlmostEquals(value, expected[i]!, 1e-6));
  });
});

describe("OnnxFeatures", () => {
  it("runs a model, whatever the number of images, and refuses what is none", async () => {
    await withFolder(async (folder) => {
      const path = `${folder}/means.onnx`;
      await Deno.writeFile(path, means(["n", 3, "h", "w"]));
      const size = { height: 6, width: 5, channels: 3 };
      const images = uniforms(1, "images", 70 * 90).map((u) => 2 * u - 1);
      await using features = await OnnxFeatures.open(path, size);
      assertEquals(
        [features.name, features.preparation, features.dimension],
        ["means.onnx", "not resized; values 0 to 1", 3],
      );
      const found = await features.extract(images, 70);
      assertEquals(found.length, 210);
      for (const [image, channel] of [[0, 0], [31, 2], [32, 1], [69, 2]] as const) {
        let sum = 0;
        for (let i = 0; i < 30; i++) sum += (images[image * 90 + 3 * i + channel]! + 1) / 2;
        assertAlmostEquals(found[3 * image + channel]!, sum / 30, 1e-6);
      }

      await Deno.writeFile(`${folder}/fixed.onnx`, means(["n", 3, 12, 12]));
      await using fixed = await OnnxFeatures.open(`${folder}/fixed.onnx`, { height: 8, width: 8, channels: 1 }, {
        range: "-1..1",
      });
      assertEquals(fixed.preparation, "bilinear to 12×12; values -1 to 1; grey repeated");
      assertEquals([...await fixed.extract(new Float32Array(64).fill(0.25), 1)], [0.25, 0.25, 0.25]);

      await Deno.writeTextFile(`${folder}/no.onnx`, "no model");
      await assertRejects(() => OnnxFeatures.open(`${folder}/no.onnx`, size), DataError, "onnxruntime can't run it");
      await Deno.writeFile(`${folder}/flat.onnx`, means(["n", 5, "h", "w"]));
      const error = await assertRejects(() => OnnxFeatures.open(`${folder}/flat.onnx`, size), DataError);
      assert(error.message.includes("images with 1 or 3 channels, first or last, found inputs x"), error.message);
      await assertRejects(() => OnnxFeatures.open(`${folder}/none.onnx`, size), DataError, "no such file");
    });
  });
});
