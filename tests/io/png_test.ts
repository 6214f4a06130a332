import { describe, it } from "@std/testing/bdd";
import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import sharp from "sharp";
import { DataError } from "../../src/errors.ts";
import { encodePng, type Pixels, readGrey, writePng, writePngBands } from "../../src/io/png.ts";
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

describe("readGrey", () => {
  /** The levels of a file with these bytes. */
  async function levelsOf(bytes: Uint8Array): Promise<Pixels> {
    return await withFolder(async (folder) => {
      await Deno.writeFile(`${folder}/a.png`, bytes);
      return await readGrey(`${folder}/a.png`);
    });
  }

  const raw = { width: 5, height: 3, channels: 1 } as const;
  const grey = picture(5, 3, 1);

  it("reads grey of 8 and 16 bits, interlaced or not", async () => {
    const image = sharp(grey.data, { raw }).toColourspace("b-w");
    assertEquals(await levelsOf(encodePng(grey)), grey);
    assertEquals(await levelsOf(await image.clone().png({ progressive: true }).toBuffer()), grey);
    const wide = sharp(Uint16Array.from(grey.data, (v) => v * 257), { raw }).toColourspace("grey16");
    const png = await wide.png().toBuffer();
    assertEquals(png[24], 16);
    assertEquals(await levelsOf(png), grey);
  });

  it("reads palettes of 1 and 8 bits", async () => {
    for (const colours of [2, 256]) {
      const levels = grey.data.map((v) => (colours === 2 ? (v < 128 ? 0 : 255) : v));
      const png = await sharp(levels, { raw }).png({ palette: true, colours, dither: 0 }).toBuffer();
      assertEquals([png[24], png[25]], [colours === 2 ? 1 : 8, 3]);
      assertEquals([...(await levelsOf(png)).data], [...levels]);
    }
  });

  it("takes the luminance of colours, and transparent pixels as dark", async () => {
    const rgba = Uint8Array.of(255, 0, 0, 255, 0, 255, 0, 255, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 0);
    const png = await sharp(rgba, { raw: { width: 5, height: 1, channels: 4 } }).png().toBuffer();
    assertEquals([...(await levelsOf(png)).data], [54, 182, 18, 255, 0]);
  });

  it("says what is wrong with a file", async () => {
    const png = encodePng(grey);
    const broken = png.slice();
    broken[45]! ^= 1;
    for (
      const bytes of [
        new Uint8Array(0),
        new TextEncoder().encode("GIF89a, which is no PNG at all"),
        png.slice(0, 60),
        broken,
      ]
    ) {
      await assertRejects(() => levelsOf(bytes), DataError, "a.png: damaged, or no PNG: ");
    }
    const claims = png.slice();
    new DataView(claims.buffer).setUint32(16, 2 ** 30);
    await assertRejects(() => levelsOf(claims), DataError, `expected at most 16777216 pixels, found 1073741824×3`);
  });
});
