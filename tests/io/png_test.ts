import { describe, it } from "@std/testing/bdd";
import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import sharp from "sharp";
import { DataError } from "../../src/errors.ts";
import { encodePng, type Pixels, writePng, writePngBands } from "../../src/io/png.ts";
import { withFolder } from "./support.ts";

function picture(width: number, height: number, channels: 1 | 3): Pixels {
  const data = Uint8Array.from({ length: width * height * channels }, (_, i) => (i * 37) % 256);
  return { width, height, channels, data };
}

describe("encodePng", () => {
  for (const channels of [1, 3] as const) {
    it(`keeps every pixel of ${channels} channel${channels === 1 ? "" : "s"}`, async () => {
      const pixels = picture(7, 5, channels);
      const png = encodePng(pixels);
      assertEquals([...png.subarray(0, 4)], [0x89, 0x50, 0x4e, 0x47]);
      // Bit depth and colour type in the header: 0 is grey, 2 RGB.
      assertEquals([png[24], png[25]], [8, channels === 1 ? 0 : 2]);
      // sharp decodes grey to RGB unless told otherwise.
      const decoder = channels === 1 ? sharp(png).toColourspace("b-w") : sharp(png);
      const { data, info } = await decoder.raw().toBuffer({ resolveWithObject: true });
      assertEquals([info.width, info.height, info.channels], [7, 5, channels]);
      assertEquals(Uint8Array.from(data), pixels.data);
    });
  }

  it("refuses sizes that do not fit", () => {
    assertThrows(() => encodePng({ ...picture(2, 2, 1), width: 3 }), DataError, "expected 6 values");
    assertThrows(() => encodePng({ ...picture(2, 2, 1), width: 0 }), DataError, "at least 1×1");
  });
});

describe("writePng", () => {
  it("writes a file", async () => {
    await withFolder(async (folder) => {
      await writePng(`${folder}/a.png`, picture(4, 4, 3));
      const { width, height, format } = await sharp(await Deno.readFile(`${folder}/a.png`)).metadata();
      assertEquals([width, height, format], [4, 4, "png"]);
    });
  });
});

describe("writePngBands", () => {
  it("writes what encodePng encodes, and a text", async () => {
    await withFolder(async (folder) => {
      const pixels = picture(5, 300, 3);
      async function* bands(rows: number): AsyncGenerator<Uint8Array> {
        for (let at = 0; at < rows; at += 7) yield await pixels.data.subarray(at * 15, Math.min(rows, at + 7) * 15);
      }
      const path = `${folder}/a.png`;
      await writePngBands(path, pixels, bands(300), "of a model");
      const file = await Deno.readFile(path);
      assertEquals(Uint8Array.from(await sharp(file).raw().toBuffer()), pixels.data);
      assertEquals(new TextDecoder().decode(file).includes("tEXtComment\0of a model"), true);
      await assertRejects(() => writePngBands(path, pixels, bands(299)), DataError, "expected 300 rows");
      assertEquals(await Deno.readFile(path), file);
    });
  });
});
