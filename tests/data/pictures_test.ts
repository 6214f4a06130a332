import { deflateSync } from "node:zlib";
import sharp, { type Sharp } from "sharp";
import { describe, it } from "@std/testing/bdd";
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { DataError, UsageError } from "../../src/errors.ts";
import { openDataset, type OpenedDataset, type OpenOptions } from "../../src/data/open.ts";
import { withFolder } from "../io/support.ts";
import { concat } from "./files.ts";
import { assertNear, BLUE, halves, pixel, RED, SIZE } from "./pictures.ts";

/** Writes pictures to a folder and opens it. */
async function withPictures(
  files: Readonly<Record<string, Uint8Array | Sharp>>,
  options: OpenOptions,
  body: (opened: OpenedDataset, folder: string) => Promise<void> | void,
): Promise<void> {
  await withFolder(async (folder) => {
    for (const [name, content] of Object.entries(files)) {
      const path = `${folder}/${name}`;
      await Deno.mkdir(path.replace(/\/[^/]*$/, ""), { recursive: true });
      await Deno.writeFile(path, content instanceof Uint8Array ? content : await content.png().toBuffer());
    }
    using opened = await openDataset(folder, { height: SIZE, cache: null, ...options });
    await body(opened, folder);
  });
}

/** A PNG file that claims a size and has no pixels. */
function claim(width: number, height: number): Uint8Array {
  const chunk = (type: string, data: Uint8Array): Uint8Array => {
    const body = concat(Array.from(type, (c) => c.charCodeAt(0)), data);
    let crc = 0xffffffff;
    for (const byte of body) {
      crc ^= byte;
      for (let k = 0; k < 8; k++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
    }
    const numbers = new DataView(new ArrayBuffer(8));
    numbers.setUint32(0, data.length);
    numbers.setUint32(4, ~crc >>> 0);
    const bytes = new Uint8Array(numbers.buffer);
    return concat(bytes.subarray(0, 4), body, bytes.subarray(4));
  };
  const header = new DataView(new ArrayBuffer(13));
  header.setUint32(0, width);
  header.setUint32(4, height);
  header.setUint8(8, 8);
  header.setUint8(9, 2);
  return concat(
    [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a],
    chunk("IHDR", new Uint8Array(header.buffer)),
    chunk("IDAT", new Uint8Array(deflateSync(new Uint8Array(100)))),
    chunk("IEND", new Uint8Array(0)),
  );
}

describe("openDataset, of a folder of pictures", () => {
  it("reads PNG, JPEG and WebP, in the order of their paths, nested ones too", async () => {
    const jpeg = await halves(BLUE, RED).jpeg({ quality: 100, chromaSubsampling: "4:4:4" }).toBuffer();
    const webp = await halves(RED, RED).webp({ lossless: true }).toBuffer();
    const files = {
      "b/inner.png": halves(RED, BLUE),
      "a.jpg": new Uint8Array(jpeg),
      "no_extension": new Uint8Array(webp),
    };
    await withPictures(files, {}, ({ format, description, train, unusable }) => {
      assertEquals([format, unusable], ["pictures", []]);
      assertEquals([train.count, train.height, train.width, train.channels, train.levels], [3, SIZE, SIZE, 3, 256]);
      assertStringIncludes(description, "3 images of 8×8×3 (the largest centre part of each picture");
      assertNear(pixel(train, 0, "left"), BLUE);
      assertNear(pixel(train, 1, "left"), RED);
      assertNear(pixel(train, 1, "right"), BLUE);
      assertNear(pixel(train, 2, "right"), RED);
    });
  });

  it("reads grey, palette, alpha, 16-bit, CMYK and EXIF-rotated pictures right", async () => {
    const deep = Uint16Array.from({ length: 256 * 3 }, (_, i) => i % 3 === 0 ? 65535 : 0);
    const files: Record<string, Uint8Array> = {
      "1_grey.png": await halves([200], [100]).toColourspace("b-w").png().toBuffer(),
      "2_palette.png": await halves(RED, BLUE).png({ palette: true }).toBuffer(),
      "3_alpha.png": await halves([255, 0, 0, 0], [0, 0, 255, 128]).png().toBuffer(),
      "4_deep.png": await sharp(deep, { raw: { width: 16, height: 16, channels: 3 } }).toColourspace("rgb16").png()
        .toBuffer(),
      "5_cmyk.jpg": await halves(RED, RED).toColourspace("cmyk").jpeg({ quality: 100 }).toBuffer(),
      // 6: the top of the scene is on the right of the file.
      "6_rotated.png": await halves(RED, BLUE).withMetadata({ orientation: 6 }).png().toBuffer(),
      "7_grey_alpha.png": await halves([0, 0], [0, 255]).toColourspace("b-w").png().toBuffer(),
    };
    const kinds = await Promise.all(Object.values(files).map((bytes) => sharp(bytes).metadata()));
    assertEquals(kinds.map(({ space, depth }) => `${space} ${depth}`), [
      "b-w uchar",
      "srgb uchar",
      "srgb uchar",
      "rgb16 ushort",
      "cmyk uchar",
      "srgb uchar",
      "b-w uchar",
    ]);
    await withPictures(files, {}, ({ train, unusable }) => {
      assertEquals([unusable, train.count, train.channels], [[], 7, 3]);
      assertNear(pixel(train, 0, "left"), [200, 200, 200]);
      assertNear(pixel(train, 1, "right"), BLUE);
      assertNear(pixel(train, 2, "left"), [255, 255, 255]);
      assertNear(pixel(train, 2, "right"), [127, 127, 255]);
      assertNear(pixel(train, 3, "left"), RED);
      const [red = 0, green = 255, blue = 255] = pixel(train, 4, "left");
      assert(red > 180 && green < 80 && blue < 80, `${red}, ${green}, ${blue}`);
      assertNear(pixel(train, 5, "top"), RED);
      assertNear(pixel(train, 5, "bottom"), BLUE);
      assertNear(pixel(train, 6, "left"), [255, 255, 255]);
      assertNear(pixel(train, 6, "right"), [0, 0, 0]);
    });
  });

  it("puts another background behind transparency", async () => {
    await withPictures(
      { "a.png": halves([255, 0, 0, 0], [255, 0, 0, 255]) },
      { background: "#00ff00" },
      ({ train }) => {
        assertNear(pixel(train, 0, "left"), [0, 255, 0]);
        assertNear(pixel(train, 0, "right"), RED);
      },
    );
    const bad = withPictures({ "a.png": halves(RED, RED) }, { background: "green" }, () => {});
    await assertRejects(() => bad, UsageError, 'white, black or #rrggbb, got "green"');
  });

  it("has no colours if no picture has any, or if that is asked for", async () => {
    const grey = {
      "a.png": halves([10], [250]).toColourspace("b-w"),
      "b.png": halves([30], [60]).toColourspace("b-w"),
    };
    for (const cache of [null, "cache"]) {
      await withFolder(async (folder) => {
        const where = { cache: cache === null ? null : `${folder}/${cache}` };
        await withPictures(grey, where, ({ train }) => {
          assertEquals([train.channels, train.count], [1, 2]);
          assertNear(pixel(train, 0, "right"), [250]);
          assertNear(pixel(train, 1, "left"), [30]);
        });
        await withPictures(grey, { ...where, channels: 3 }, ({ train }) => assertEquals(train.channels, 3));
        await withPictures({ "a.png": halves([99, 99, 99], RED) }, { ...where, channels: 1 }, ({ train }) => {
          assertNear(pixel(train, 0, "left"), [99]);
        });
      });
    }
  });

  it("cuts the centre and makes smaller, to any shape", async () => {
    // Red in the middle third only.
    const image = halves(BLUE, BLUE, 60, 40).composite([{
      input: await halves(RED, RED, 20, 20).png().toBuffer(),
      left: 20,
      top: 10,
    }]);
    await withPictures({ "a.png": image }, { crop: 20 }, ({ train, description }) => {
      for (const side of ["left", "right", "top", "bottom"] as const) assertNear(pixel(train, 0, side), RED);
      assertStringIncludes(description, "a centre square of 20");
    });
    await withPictures({ "a.png": image }, { height: 8, width: 12 }, ({ train }) => {
      assertEquals([train.height, train.width], [8, 12]);
      assertNear(pixel(train, 0, "left"), BLUE);
    });
  });

  it("cuts CelebA's aligned faces as customary", async () => {
    await withFolder(async (folder) => {
      await Deno.mkdir(`${folder}/img_align_celeba`);
      const face = await halves(RED, RED, 178, 218).jpeg().toBuffer();
      for (const name of ["000001.jpg", "000002.jpg"]) await Deno.writeFile(`${folder}/img_align_celeba/${name}`, face);
      const open = (crop?: number) => openDataset(`${folder}/img_align_celeba`, { cache: null, crop });
      const { format, description, train } = await open();
      assertEquals([format, train.count, train.height], ["CelebA, aligned", 2, 32]);
      assertStringIncludes(description, "a centre square of 140");
      assertStringIncludes((await open(108)).description, "a centre square of 108");
    });
  });

  it("leaves out what can't be used, with the reason", async () => {
    const whole = new Uint8Array(await halves(RED, BLUE, 300, 300).jpeg({ quality: 100 }).toBuffer());
    const files = {
      "a.png": halves(RED, BLUE),
      ".hidden": Uint8Array.of(1),
      "claim.png": claim(60000, 60000),
      "cut.jpg": whole.subarray(0, whole.length / 2),
      "empty.png": new Uint8Array(0),
      "notes.txt": new TextEncoder().encode("notes"),
      "picture.svg": new TextEncoder().encode("<svg xmlns='http://www.w3.org/2000/svg' width='99' height='99'/>"),
      "nested/small.png": halves(RED, BLUE, 1, 1),
      "wide.png": halves(RED, BLUE, 99, 7),
    };
    await withPictures(files, {}, async ({ train, unusable }, folder) => {
      assertEquals(train.count, 1);
      assertEquals(unusable, [
        { path: "claim.png", reason: "too large: 60000×60000 pixels, expected at most 268435456 in all" },
        { path: "cut.jpg", reason: "broken: cut short or damaged" },
        { path: "empty.png", reason: "empty" },
        { path: "nested/small.png", reason: "too small: 1×1, expected at least 8×8" },
        { path: "notes.txt", reason: "no PNG, JPEG or WebP picture" },
        { path: "picture.svg", reason: "no PNG, JPEG or WebP picture" },
        { path: "wide.png", reason: "too small: 7×99, expected at least 8×8" },
      ]);
      const strict = openDataset(folder, { height: SIZE, cache: null, strict: true });
      const { message } = await assertRejects(() => strict, DataError, "7 files can't be used: claim.png (too large");
      assertStringIncludes(message, "… (2 more)");
    });
  });

  it("says why if none can be used", async () => {
    const opened = withPictures({ "a.png": halves(RED, RED, 2, 2), "b.txt": Uint8Array.of(1) }, {}, () => {});
    await assertRejects(() => opened, DataError, "found none that can be used among 2 files (a.png: too small: 2×2");
  });

  it("follows links, and gets out of loops", async () => {
    await withPictures({ "a.png": halves(RED, BLUE), "in/b.png": halves(RED, BLUE) }, {}, async (_, folder) => {
      await Deno.symlink("a.png", `${folder}/c.png`);
      await Deno.symlink(".", `${folder}/again`);
      await Deno.symlink("../in", `${folder}/in/round`);
      await Deno.symlink("itself", `${folder}/itself`);
      await Deno.symlink("nowhere", `${folder}/gone`);
      using opened = await openDataset(folder, { height: SIZE, cache: null });
      assertEquals(opened.train.count, 3);
      assertEquals(opened.unusable, [
        { path: "again", reason: "a link to a folder that is read already" },
        { path: "gone", reason: "can't be read: no such file or directory" },
        { path: "in/round", reason: "a link to a folder that is read already" },
        { path: "itself", reason: "a link that leads to itself" },
      ]);
    });
  });
});
