import { existsSync } from "node:fs";
import { describe, it } from "@std/testing/bdd";
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { DataError } from "../../src/errors.ts";
import { type Dataset, readAll, readImages } from "../../src/data/dataset.ts";
import { openDataset } from "../../src/data/open.ts";
import { tensorOf, type TensorToWrite, writeSafetensors } from "../../src/io/safetensors.ts";
import { withFolder } from "../io/support.ts";

const RECORD = 3073;

/** CIFAR-10 records whose pixel values tell plane and position. */
function cifarRecords(count: number, label = 3): Uint8Array {
  const bytes = new Uint8Array(count * RECORD);
  for (let r = 0; r < count; r++) {
    bytes[r * RECORD] = label;
    for (let i = 0; i < RECORD - 1; i++) bytes[r * RECORD + 1 + i] = (Math.floor(i / 1024) * 80 + (i % 1024) + r) % 256;
  }
  return bytes;
}

async function openTensors(tensors: Record<string, TensorToWrite>, metadata: Record<string, string> = {}) {
  let opened: Awaited<ReturnType<typeof openDataset>> | undefined;
  await withFolder(async (folder) => {
    const path = `${folder}/set.safetensors`;
    await writeSafetensors(path, new Map(Object.entries(tensors)), new Map(Object.entries(metadata)));
    opened = await openDataset(path);
  });
  assert(opened !== undefined);
  return opened;
}

/** Levels of a data set of 256. */
function levels(set: Parameters<typeof readAll>[0]): number[] {
  return Array.from(readAll(set), (value) => Math.round((value + 1) * 127.5));
}

describe("openDataset, of a safetensors file", () => {
  it("reads grey images and what is held out", async () => {
    const images = tensorOf([4, 1, 2], Uint8Array.of(0, 1, 2, 3, 4, 5, 6, 7));
    const opened = await openTensors({ images, heldout: tensorOf([2], Int32Array.of(2, 0)) });
    assertEquals(opened.format, "safetensors");
    assertEquals(opened.description, "4 images of 1×2×1 in NHW, 256 levels (U8), 2 of them held out");
    assertEquals(levels(opened.train), [2, 3, 6, 7]);
    assert(opened.heldout !== undefined);
    assertEquals(levels(opened.heldout), [4, 5, 0, 1]);
  });

  it("reads channels last and channels first, guessed or stated", async () => {
    const first = Uint8Array.of(1, 2, 3, 4, 5, 6);
    const last = Uint8Array.of(1, 3, 5, 2, 4, 6);
    const cases: readonly [number[], Uint8Array, Record<string, string>][] = [
      [[1, 1, 2, 3], last, {}],
      [[1, 3, 1, 2], first, { layout: "N,C,H,W" }],
      [[1, 3, 1, 2], first, { layout: "nchw" }],
      [[1, 1, 2, 3], last, { layout: "N, H, W, C" }],
    ];
    for (const [shape, data, metadata] of cases) {
      const unclear = shape[1] === 1 && metadata["layout"] === undefined;
      if (unclear) {
        await assertRejects(() => openTensors({ images: tensorOf(shape, data) }), DataError, "which of [1, 1, 2, 3]");
        continue;
      }
      const { train } = await openTensors({ images: tensorOf(shape, data) }, metadata);
      assertEquals([train.height, train.width, train.channels], [1, 2, 3]);
      assertEquals(levels(train), [...last]);
    }
    const guessed = await openTensors({ images: tensorOf([1, 3, 2, 2], new Uint8Array(12)) });
    assertStringIncludes(guessed.description, "in NCHW");
  });

  it("takes floats for what their range says", async () => {
    const of = (...values: number[]) => ({ images: tensorOf([1, 1, values.length], Float32Array.from(values)) });
    const unit = await openTensors(of(0, 1 / 255, 1));
    assertEquals([levels(unit.train), unit.description.includes("F32 in [0, 1])")], [[0, 1, 255], true]);
    const signed = await openTensors(of(-1, 1 / 127.5 - 1, 1));
    assertEquals([levels(signed.train), signed.description.includes("F32 in [−1, 1])")], [[0, 1, 255], true]);
    const whole = await openTensors(of(0, 7, 255));
    assertEquals(levels(whole.train), [0, 7, 255]);
    const rounded = await openTensors(of(0, 0.501, 1, 1));
    assertStringIncludes(rounded.description, "25 % of the values rounded");
    const stated = await openTensors(of(0, 0.5, 1), { levels: "17" });
    assertEquals([stated.train.levels, [...readAll(stated.train)]], [17, [-1, 0, 1]]);
  });

  const refused: readonly [string, Record<string, TensorToWrite>, Record<string, string>, string][] = [
    ["no images", { x: tensorOf([1], Uint8Array.of(1)) }, {}, "expected a tensor named images, found x"],
    ["an empty set", { images: tensorOf([0, 2, 2], new Uint8Array(0)) }, {}, "at least one image, found none"],
    ["an empty image", { images: tensorOf([2, 0, 2], new Uint8Array(0)) }, {}, "expected a positive height, got 0"],
    [
      "a vector",
      { images: tensorOf([4], new Uint8Array(4)) },
      {},
      "[N, H, W], [N, H, W, C] or [N, C, H, W], found [4]",
    ],
    [
      "integers out of range",
      { images: tensorOf([1, 1, 1], Int32Array.of(256)) },
      {},
      "levels 0 to 255, found 256 to 256",
    ],
    ["NaN", { images: tensorOf([1, 1, 2], Float32Array.of(1, NaN)) }, {}, "finite values, found NaN at position 1"],
    ["values out of range", { images: tensorOf([1, 1, 2], Float32Array.of(-2, 300)) }, {}, "found -2 to 300"],
    [
      "a level too high",
      { images: tensorOf([1, 1, 1], Uint8Array.of(17)) },
      { levels: "17" },
      "levels 0 to 16, found 17",
    ],
    ["odd levels", { images: tensorOf([1, 1, 1], Uint8Array.of(1)) }, { levels: "many" }, 'found "many"'],
    ["an odd layout", { images: tensorOf([1, 1, 1], Uint8Array.of(1)) }, { layout: "N,C,H,W" }, 'found "N,C,H,W"'],
    [
      "a held-out index that is not there",
      { images: tensorOf([2, 1, 1], Uint8Array.of(1, 2)), heldout: tensorOf([1], Int32Array.of(2)) },
      {},
      "to be 0 to 1, found 2",
    ],
    [
      "a held-out index twice",
      { images: tensorOf([3, 1, 1], Uint8Array.of(1, 2, 3)), heldout: tensorOf([2], Int32Array.of(1, 1)) },
      {},
      "index 1 occurs twice",
    ],
    [
      "everything held out",
      { images: tensorOf([1, 1, 1], Uint8Array.of(1)), heldout: tensorOf([1], Int32Array.of(0)) },
      {},
      "some but not all images",
    ],
  ];
  for (const [what, tensors, metadata, message] of refused) {
    it(`refuses ${what}`, async () => {
      const error = await assertRejects(() => openTensors(tensors, metadata), DataError, message);
      assert(!error.message.includes("\n"));
    });
  }

  it("refuses a file that was cut short", async () => {
    await withFolder(async (folder) => {
      const path = `${folder}/set.safetensors`;
      await writeSafetensors(path, new Map([["images", tensorOf([1, 2, 2], new Uint8Array(4))]]));
      await Deno.truncate(path, (await Deno.stat(path)).size - 1);
      await assertRejects(() => openDataset(path), DataError, "cut short");
    });
  });
});

describe("openDataset, of a safetensors file with many images", () => {
  it("leaves them in the file until they are read, held-out ones too", async () => {
    const [count, size] = [11_000, 32 * 32 * 3];
    const images = Uint8Array.from({ length: count * size }, (_, i) => (i >>> 3) % 251);
    await withFolder(async (folder) => {
      const path = `${folder}/many.safetensors`;
      const tensors = { images: tensorOf([count, 32, 32, 3], images), heldout: tensorOf([1], Int32Array.of(1)) };
      await writeSafetensors(path, new Map(Object.entries(tensors)));
      using opened = await openDataset(path);
      assertStringIncludes(opened.description, "read from the file as needed");
      assertEquals(opened.train.count, count - 1);
      const image = (set: Dataset, index: number): number[] =>
        Array.from(readImages(set, index, 1), (value) => Math.round((value + 1) * 127.5));
      assert(opened.heldout !== undefined);
      assertEquals(image(opened.heldout, 0), [...images.subarray(size, 2 * size)]);
      assertEquals(image(opened.train, count - 2), [...images.subarray((count - 1) * size)]);
    });
  });
});

describe("openDataset, of a CIFAR-10 folder", () => {
  it("reads planes into channels, files in the order of their numbers", async () => {
    await withFolder(async (folder) => {
      await Deno.writeFile(`${folder}/data_batch_10.bin`, cifarRecords(1).fill(200, 1));
      await Deno.writeFile(`${folder}/data_batch_2.bin`, cifarRecords(2));
      await Deno.writeFile(`${folder}/test_batch.bin`, cifarRecords(1));
      await Deno.writeTextFile(`${folder}/batches.meta.txt`, "airplane\n");
      const { format, description, train, heldout } = await openDataset(folder);
      assertEquals(format, "CIFAR-10 binary");
      assertEquals(description, "3 images of 32×32×3 in 2 training files, 1 images held out (test_batch.bin)");
      assertEquals([train.height, train.width, train.channels, train.levels], [32, 32, 3, 256]);
      const values = levels(train);
      // Pixel 5 of record 1: the planes hold 80·c + position + record.
      assertEquals(values.slice(3072 + 15, 3072 + 18), [6, 86, 166]);
      assertEquals(values[2 * 3072], 200);
      assertEquals(heldout?.count, 1);
    });
  });

  it("does without a test file", async () => {
    await withFolder(async (folder) => {
      await Deno.writeFile(`${folder}/data_batch_1.bin`, cifarRecords(1));
      const { heldout, description } = await openDataset(folder);
      assertEquals(heldout, undefined);
      assertStringIncludes(description, "1 training file, no test_batch.bin");
    });
  });

  it("refuses wrong sizes, empty files and wrong labels, naming the file", async () => {
    await withFolder(async (folder) => {
      const path = `${folder}/data_batch_1.bin`;
      const refused: readonly [Uint8Array, string][] = [
        [new Uint8Array(0), "found an empty file"],
        [new Uint8Array(RECORD - 1), "expected a multiple of 3073 bytes (CIFAR-10 records), found 3072"],
        [cifarRecords(1, 10), "expected a label from 0 to 9 in record 0, found 10"],
      ];
      for (const [bytes, message] of refused) {
        await Deno.writeFile(path, bytes);
        const error = await assertRejects(() => openDataset(folder), DataError, message);
        assert(error.message.startsWith(path));
      }
    });
  });

  const photos = new URL("../../../shared/data/photos-cifar10-format/", import.meta.url);
  const there = existsSync(photos);
  it("reads photos in its format", { ignore: !there, reason: "needs ../shared/data" }, async () => {
    const { train, heldout } = await openDataset(photos.pathname);
    assertEquals([train.count, heldout?.count], [1000, 200]);
    const values = levels(train);
    const bytes = await Deno.readFile(new URL("data_batch_1.bin", photos));
    assertEquals(values.slice(0, 3), [bytes[1], bytes[1 + 1024], bytes[1 + 2048]]);
    // Photographs are smooth: neighbours in a row differ little, which a wrong layout would break.
    let roughness = 0;
    for (let i = 3; i < 3072; i++) roughness += Math.abs((values[i] ?? 0) - (values[i - 3] ?? 0));
    assert(roughness / 3069 < 40, `${roughness / 3069}`);
  });
});

describe("openDataset, of anything else", () => {
  it("says in one line what it expected and found", async () => {
    await withFolder(async (folder) => {
      const message = async (path: string) => (await assertRejects(() => openDataset(path), DataError)).message;
      assertEquals(await message(`${folder}/none`), `cannot read data from ${folder}/none: no such file or directory`);
      assertStringIncludes(await message(folder), "found an empty folder");
      await Deno.writeTextFile(`${folder}/notes.txt`, "");
      assertStringIncludes(await message(folder), "found a folder with notes.txt");
      assertStringIncludes(await message(`${folder}/notes.txt`), "found another kind of file");
    });
  });
});
