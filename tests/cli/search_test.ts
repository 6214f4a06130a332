import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { encodePng } from "../../src/io/png.ts";
import { readSafetensors, toFloat32 } from "../../src/io/safetensors.ts";
import { namesIn, withFolder } from "../io/support.ts";
import { run, tinyFiles } from "./support.ts";

/** Width and height of a PNG file. */
async function pngSize(path: string): Promise<[number, number]> {
  const view = new DataView((await Deno.readFile(path)).buffer);
  return [view.getUint32(16), view.getUint32(20)];
}

describe("reconstruct, inpaint and interpolate", () => {
  it("write pictures and tensors", async () => {
    await withFolder(async (folder) => {
      const tiny = await tinyFiles(folder);
      const trained = await run(folder, ["train", ...tiny, "--iterations", "1", "--out", "run", "--quiet"]);
      assertEquals(trained.code, 0, trained.err);
      const search = (command: string, ...args: string[]) =>
        run(folder, [command, "run", "--data", "tiny.safetensors", "--threads", "1", "--iterations", "3", ...args]);
      const good = async (command: string, ...args: string[]): Promise<string> => {
        const { code, out, err } = await search(command, ...args);
        assertEquals(code, 0, err);
        return out;
      };
      assertStringIncludes(
        await good("reconstruct", "--count", "3", "--out", "a.png"),
        "3 images | starts | reconstructions in a.png: error",
      );
      // Images 4 pixels wide, ten times enlarged: three columns, three rows.
      assertEquals(await pngSize(`${folder}/a.png`), [3 * 42 + 2, 3 * 42 + 2]);
      await good(
        "reconstruct",
        "--count",
        "3",
        "--out",
        "a.safetensors",
        "--rate",
        "0.01",
        "--decay",
        "0.9",
        "--seed",
        "4",
      );
      const { tensors } = await readSafetensors(`${folder}/a.safetensors`);
      assertEquals([...tensors.keys()].sort(), ["errors", "images", "psnr", "starts", "targets"]);
      assertEquals(tensors.get("starts")?.shape, [3, 4, 4, 1]);

      await good("inpaint", "--count", "2", "--completions", "3", "--out", "b.png", "--mask", "0,0,2,4");
      assertEquals(await pngSize(`${folder}/b.png`), [5 * 42 + 2, 2 * 42 + 2]);
      // The left half is bright, and hidden.
      const data = Uint8Array.from({ length: 16 }, (_, i) => (i % 4 < 2 ? 255 : 0));
      await Deno.writeFile(`${folder}/mask.png`, encodePng({ width: 4, height: 4, channels: 1, data }));
      await good("inpaint", "--count", "1", "--completions", "2", "--out", "b.safetensors", "--mask", "mask.png");
      const inpainted = (await readSafetensors(`${folder}/b.safetensors`)).tensors;
      const [masked, images] = ["masked", "images"].map((name) => toFloat32(inpainted.get(name)!)) as [
        Float32Array,
        Float32Array,
      ];
      masked.forEach((value, i) => {
        if (i % 4 < 2) assertEquals(value, 0);
        else assertEquals(images[i], value);
      });

      await good("interpolate", "--count", "4", "--points", "5", "--out", "c.png");
      assertEquals(await pngSize(`${folder}/c.png`), [5 * 42 + 2, 2 * 42 + 2]);
      const random = [
        "interpolate",
        "run",
        "--random",
        "3",
        "--points",
        "4",
        "--path",
        "spherical",
        "--out",
        "c.safetensors",
      ];
      const walked = await run(folder, random);
      assertEquals(walked.code, 0, walked.err);
      const walks = (await readSafetensors(`${folder}/c.safetensors`)).tensors.get("images");
      assertEquals(walks?.shape, [3, 4, 4, 4, 1]);

      const before = namesIn(folder);
      const wrong: [string[], number, string][] = [
        [["reconstruct", "--out", "x.gif"], 2, "--out: expected FILE.png or FILE.safetensors, found x.gif"],
        [["reconstruct", "--count", "99"], 2, "--count: expected at most the 24 images"],
        [["reconstruct", "--rate", "0"], 2, '--rate: expected a number above 0, found "0"'],
        [
          ["inpaint", "--mask", "0,0,4,4"],
          1,
          "mask: expected some pixels hidden and some not, found all of them hidden",
        ],
        [["inpaint", "--mask", "1,1,0,2"], 1, "found none hidden"],
        [["inpaint", "--mask", "3,3,2,1"], 2, "--mask: expected X,Y,WIDTH,HEIGHT within 4×4 pixels, or FILE.png"],
        [["inpaint", "--mask", "a.png"], 2, "--mask: expected a picture of 4×4 pixels, found 128×128 in a.png"],
        [["inpaint", "--mask", "tiny.json.png"], 1, "cannot read the picture tiny.json.png: no such file or directory"],
        [["interpolate", "--random", "2"], 2, "expected --data or --random, found both"],
        [["interpolate", "--count", "3"], 1, "expected an even number of images"],
        [["interpolate", "--path", "round"], 2, "--path: expected linear or spherical"],
      ];
      for (const [[command, ...args], code, message] of wrong) {
        const ended = await search(command!, ...args);
        assertEquals(ended.code, code, ended.err);
        assertStringIncludes(ended.err, message);
        assertEquals(ended.err.trim().split("\n").length, 1, ended.err);
      }
      assert(namesIn(folder).every((name) => before.includes(name)));
    });
  });
});
