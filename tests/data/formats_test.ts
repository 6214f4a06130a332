import { gzipSync } from "node:zlib";
import { describe, it } from "@std/testing/bdd";
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { UsageError } from "../../src/errors.ts";
import { openDataset } from "../../src/data/open.ts";
import { withFolder } from "../io/support.ts";
import { concat, idx, mat, matVariable, npy, npz, pixels, svhn } from "./files.ts";
import { failure, levelsOf, sizeOf } from "./support.ts";

describe("openDataset, of IDX files", () => {
  const images = pixels(3, 6);

  it("reads a file, compressed or not, whatever its name", async () => {
    await withFolder(async (folder) => {
      for (
        const [name, bytes] of [["a", idx([3, 2, 3], images)], ["b.gz", gzipSync(idx([3, 2, 3], images))]] as const
      ) {
        await Deno.writeFile(`${folder}/${name}`, bytes);
        const { format, train, heldout } = await openDataset(`${folder}/${name}`);
        assertEquals([format, sizeOf(train), train.levels, heldout], ["IDX", [3, 2, 3, 1], 256, undefined]);
        assertEquals(levelsOf(train), [...images]);
      }
    });
  });

  it("reads a folder as MNIST comes, and holds its test images out", async () => {
    await withFolder(async (folder) => {
      await Deno.writeFile(`${folder}/train-images-idx3-ubyte.gz`, gzipSync(idx([3, 2, 3], images)));
      await Deno.writeFile(`${folder}/train-labels-idx1-ubyte.gz`, gzipSync(idx([3], Uint8Array.of(1, 2, 3))));
      await Deno.writeFile(`${folder}/t10k-images-idx3-ubyte`, idx([1, 2, 3], images.subarray(6, 12)));
      const { train, heldout, description } = await openDataset(folder);
      assertEquals([train.count, heldout?.count], [3, 1]);
      assert(heldout !== undefined);
      assertEquals(levelsOf(heldout), [...images.subarray(6, 12)]);
      assertStringIncludes(description, "1 images held out (t10k-images-idx3-ubyte)");
    });
  });

  const whole = idx([3, 2, 3], images);
  const refused: readonly [string, Uint8Array, string][] = [
    ["cut short", whole.subarray(0, -1), "cut short: expected 18 more bytes"],
    ["with more behind", concat(whole, [0]), "expected 18 values (3×2×3), found more"],
    ["of labels", idx([3], Uint8Array.of(1, 2, 3)), "expected images (3 or 4 dimensions), found a list (labels?) of 3"],
    ["of floats", idx([1, 1, 1], new Uint8Array(4), 0x0d), "expected unsigned bytes (type 8), found type 13"],
    ["with more images than it can have", idx([0xffffffff, 28, 28], images), "cut short"],
    ["of no images", idx([0, 2, 2], new Uint8Array(0)), "at least one image, found none"],
    ["in a gzip file that is cut short", gzipSync(whole).subarray(0, -9), "cut short: its compressed data ends early"],
  ];
  for (const [what, bytes, message] of refused) {
    it(`refuses one ${what}`, async () => assertStringIncludes(await failure("images", bytes), message));
  }
});

describe("openDataset, of NumPy files", () => {
  const images = pixels(2, 12);

  it("reads bytes, booleans, integers and floats", async () => {
    await withFolder(async (folder) => {
      const open = async (descr: string, shape: number[], data: Uint8Array, levels?: number) => {
        await Deno.writeFile(`${folder}/set.npy`, npy(descr, shape, data));
        return (await openDataset(`${folder}/set.npy`, { levels })).train;
      };
      assertEquals(levelsOf(await open("|u1", [2, 2, 2, 3], images)), [...images]);
      assertEquals(sizeOf(await open("|u1", [2, 3, 2, 2], images)), [2, 2, 2, 3]);
      const bits = await open("|b1", [1, 1, 4], Uint8Array.of(0, 1, 1, 0));
      assertEquals([bits.levels, levelsOf(bits)], [2, [0, 1, 1, 0]]);
      assertEquals(levelsOf(await open("<i8", [1, 1, 2], new Uint8Array(BigInt64Array.of(7n, 255n).buffer))), [7, 255]);
      assertEquals(levelsOf(await open("<f8", [1, 1, 2], new Uint8Array(Float64Array.of(0, 1).buffer))), [0, 255]);
      const few = await open("|u1", [1, 1, 3], Uint8Array.of(0, 16, 4), 17);
      assertEquals([few.levels, levelsOf(few)], [17, [0, 16, 4]]);
    });
  });

  it("reads an archive, by known names or the only one", async () => {
    await withFolder(async (folder) => {
      const path = `${folder}/set.npz`;
      const array = npy("|u1", [2, 2, 2, 3], images);
      await Deno.writeFile(
        path,
        npz({ x_test: npy("|u1", [1, 2, 2, 3], images.subarray(12)), x_train: array, y_train: array }),
      );
      const { format, train, heldout, description } = await openDataset(path);
      assertEquals([format, train.count, heldout?.count], ["NumPy archive", 2, 1]);
      assertStringIncludes(description, "(array x_train), 1 images held out (array x_test)");
      await Deno.writeFile(path, npz({ anything: array }));
      assertEquals(levelsOf((await openDataset(path)).train), [...images]);
    });
  });

  const refused: readonly [string, Uint8Array, string][] = [
    [
      "of objects",
      npy("|O", [2, 2, 2, 3], images),
      "found one of Python objects, which reading could run code for; not read",
    ],
    ["of records", npy("[('a', '<f4')]", [2], images), "found one of records"],
    ["of complex numbers", npy("<c8", [2], images), 'found "<c8"; convert it with astype'],
    ["in Fortran's order", npy("|u1", [2, 2, 2, 3], images, true), "expected C order, found Fortran's"],
    ["cut short", npy("|u1", [2, 2, 2, 3], images.subarray(1)), "cut short: expected 24 more bytes"],
    ["that goes on", npy("|u1", [2, 2, 2, 3], concat(images, [1])), "found more"],
    ["that claims a terabyte", npy("|u1", [2 ** 30, 32, 32], images), "cut short"],
    ["that claims more than numbers can say", npy("|u1", [2 ** 30, 2 ** 30, 2 ** 30], images), "it claims a shape of"],
    ["of floats beyond", npy("<f4", [1, 1, 1], new Uint8Array(Float32Array.of(300).buffer)), "found 300 to 300"],
    [
      "of integers beyond",
      npy("<i4", [1, 1, 1], new Uint8Array(Int32Array.of(-1).buffer)),
      "expected levels 0 to 255, found -1",
    ],
  ];
  for (const [what, bytes, message] of refused) {
    it(`refuses one ${what}`, async () => assertStringIncludes(await failure("set.npy", bytes), message));
  }

  it("refuses archives without a known array, with objects, cut short, or with paths that lead out", async () => {
    const array = npy("|u1", [2, 2, 2, 3], images);
    assertStringIncludes(
      await failure("set.npz", npz({ a: array, b: array })),
      "expected an array named images, x_train",
    );
    assertStringIncludes(
      await failure("set.npz", npz({ images: npy("|O", [1], images) })),
      '"images": expected an array of numbers',
    );
    assertStringIncludes(
      await failure("set.npz", npz({ "../images": array })),
      'found "../images.npy", which leads out of it',
    );
    assertStringIncludes(await failure("set.npz", npz({ images: array }).subarray(0, 200)), "cut short or damaged");
    assertStringIncludes(await failure("set.npz", pixels(1, 500)), "cut short or damaged");
  });
});

describe("openDataset, of SVHN's files", () => {
  const images = pixels(3, 4 * 4 * 3);

  it("reads columns into rows, a file alone or a folder with held-out images", async () => {
    await withFolder(async (folder) => {
      await Deno.writeFile(`${folder}/train_32x32.mat`, svhn(3, 4, images));
      await Deno.writeFile(`${folder}/test_32x32.mat`, svhn(1, 4, images.subarray(48, 96)));
      const { format, train, heldout } = await openDataset(folder);
      assertEquals([format, sizeOf(train), heldout?.count], ["SVHN", [3, 4, 4, 3], 1]);
      assertEquals(levelsOf(train), [...images]);
      const alone = await openDataset(`${folder}/train_32x32.mat`);
      assertEquals([levelsOf(alone.train), alone.heldout], [[...images], undefined]);
    });
  });

  it("reads variables that are not compressed, and labels stored as doubles", async () => {
    await withFolder(async (folder) => {
      const path = `${folder}/set.mat`;
      const one = { compressed: false };
      const y = new Uint8Array(Float64Array.of(10).buffer);
      const variables = [
        matVariable("other", [1, 1], Uint8Array.of(1)),
        matVariable("y", [1, 1], y, { ...one, kind: 6, type: 9 }),
        matVariable("X", [1, 2, 3], Uint8Array.of(1, 2, 3, 4, 5, 6), one),
      ];
      await Deno.writeFile(path, mat(variables));
      const { train } = await openDataset(path);
      assertEquals([sizeOf(train), levelsOf(train)], [[1, 1, 2, 3], [1, 3, 5, 2, 4, 6]]);
    });
  });

  const x = matVariable("X", [4, 4, 3, 3], images);
  const refused: readonly [string, Uint8Array, string][] = [
    ["of version 7.3", mat([], "MATLAB 7.3 MAT-file"), "expected a MATLAB 5 file, found version 7.3 (HDF5)"],
    ["of another version", mat([], "MATLAB 6", 0x0200), "found another version or kind of file"],
    ["that is a head alone", mat([]).subarray(0, 100), "expected a MATLAB 5 file, found 100 bytes"],
    [
      "with other variables",
      mat([matVariable("Z", [1, 1], Uint8Array.of(1))]),
      'expected variables X (images) and y (labels) as in SVHN\'s files, found "Z"',
    ],
    ["with a label out of range", svhn(3, 4, images, [1, 11, 2]), "expected labels from 0 to 10, found 11 for image 1"],
    ["with too few labels", svhn(3, 4, images, [1, 2]), "has 2 bytes, not 3"],
    [
      "with fewer labels than images",
      mat([x, matVariable("y", [2, 1], Uint8Array.of(1, 2))]),
      "as many labels as images (3), found 2",
    ],
    [
      "with images of another type",
      mat([matVariable("X", [4, 4, 3, 3], new Uint8Array(144 * 2), { type: 4 })]),
      "found 4×4×3×3 of uint16",
    ],
    ["cut short", svhn(3, 4, images).subarray(0, 200), "cut short"],
    [
      "damaged",
      svhn(3, 4, images).map((byte, i) => i > 140 && i < 160 ? byte ^ 0x55 : byte),
      "damaged: its compressed data",
    ],
  ];
  for (const [what, bytes, message] of refused) {
    it(`refuses one ${what}`, async () => assertStringIncludes(await failure("set.mat", bytes), message));
  }
});

describe("openDataset, with options", () => {
  it("refuses options for pictures where there are none", async () => {
    await withFolder(async (folder) => {
      await Deno.writeFile(`${folder}/set`, idx([1, 2, 2], pixels(1, 4)));
      await assertRejects(
        () => openDataset(`${folder}/set`, { crop: 2 }),
        UsageError,
        "crop: expected a folder of pictures",
      );
      await assertRejects(
        () => openDataset(`${folder}/set`, { background: "black" }),
        UsageError,
        "background: expected",
      );
    });
  });
});
