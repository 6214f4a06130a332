import { assert, assertEquals, assertLess, assertStringIncludes } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { encodePng } from "../../src/io/png.ts";
import { readSafetensors, toFloat32 } from "../../src/io/safetensors.ts";
import { randomBits } from "../../src/random.ts";
import { run } from "../cli/support.ts";
import { withFolder } from "../io/support.ts";

const SIDE = 70;

/** Colour gradients, each with a disc of another colour. */
async function writePictures(folder: string, count: number): Promise<void> {
  await Deno.mkdir(folder);
  for (let i = 0; i < count; i++) {
    const [x0 = 0, y0 = 0, hue = 0] = randomBits(0, "pictures", 4, { sample: i });
    const data = Uint8Array.from({ length: SIDE * SIDE * 3 }, (_, e) => {
      const [x, y, c] = [Math.floor(e / 3) % SIDE, Math.floor(e / 3 / SIDE), e % 3];
      const inside = (x - x0 % SIDE) ** 2 + (y - y0 % SIDE) ** 2 < 225;
      return inside ? (hue >>> 8 * c) & 255 : (c === 0 ? x : c === 1 ? y : x + y) * 3 / (c === 2 ? 2 : 1);
    });
    await Deno.writeFile(`${folder}/${i}.png`, encodePng({ width: SIDE, height: SIDE, channels: 3, data }));
  }
}

describe("preset celeba64 with narrow networks", () => {
  it("learns from a folder of pictures, samples and reconstructs", async () => {
    await withFolder(async (folder) => {
      await writePictures(`${folder}/photos`, 12);
      const good = async (...args: string[]): Promise<string> => {
        const { code, out, err } = await run(folder, args);
        assertEquals(code, 0, err);
        return out;
      };
      const fields = [
        ...["flow.channels=8", "flow.blocks=1", "flow.dequantBlocks=1", "flow.components=2", "energy.channels=8"],
        ...["langevin.steps=3", "training.initialisationImages=4"],
      ];
      await good(
        ...["train", "--preset", "celeba64", "--data", "photos", "--size", "64", "--crop", String(SIDE)],
        ...fields.flatMap((field) => ["--set", field]),
        ...["--batch", "2", "--iterations", "2", "--out", "run", "--quiet"],
      );
      const config = JSON.parse(await Deno.readTextFile(`${folder}/run/config.json`));
      assertEquals([config.data.height, config.data.width, config.data.channels], [64, 64, 3]);

      await good("sample", "run", "--count", "3", "--out", "samples.safetensors");
      const samples = (await readSafetensors(`${folder}/samples.safetensors`)).tensors.get("images")!;
      assertEquals(samples.shape, [3, 64, 64, 3]);
      assert(toFloat32(samples).every(Number.isFinite));

      const errors: number[] = [];
      for (const iterations of ["1", "20"]) {
        const search = ["reconstruct", "run", "--data", "photos", "--count", "1", "--iterations", iterations];
        assertStringIncludes(await good(...search, "--out", "found.safetensors"), "1 image");
        const { tensors } = await readSafetensors(`${folder}/found.safetensors`);
        assertEquals(tensors.get("images")?.shape, [1, 64, 64, 3]);
        errors.push(toFloat32(tensors.get("errors")!)[0]!);
      }
      assertLess(errors[1]!, errors[0]!);
    });
  });
});
