import { assert, assertEquals, assertRejects } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import fc from "fast-check";
import { DataError } from "../../src/errors.ts";
import { PickleDict, type PickleValue } from "../../src/io/pickle_values.ts";
import { toFloat64 } from "../../src/io/tensor.ts";
import { TorchFile } from "../../src/io/torch_file.ts";
import { TorchTensor } from "../../src/io/torch_values.ts";
import { TorchTuple, type TorchValue, writeTorch } from "../../src/io/torch_write.ts";
import { tensorOf } from "../../src/io/tensor.ts";
import { withFolder } from "./support.ts";
import {
  bytesOf,
  dict,
  floats,
  global,
  little,
  long,
  pickle,
  type Piece,
  tar,
  tensor,
  text,
  torchLegacy,
  torchZip,
  tuple,
} from "./torch_support.ts";

type Plain = null | boolean | number | bigint | string | Uint8Array | Plain[] | Map<unknown, Plain>;

/** A value with its tensors read: `[shape, …values]`. */
async function plain(file: TorchFile, value: PickleValue): Promise<Plain> {
  if (value instanceof TorchTensor) return [[...value.shape], ...toFloat64(await file.read(value))];
  if (value instanceof PickleDict) {
    const entries = await Promise.all([...value.entries].map(async ([k, v]) => [k, await plain(file, v)] as const));
    return new Map(entries);
  }
  if (typeof value === "object" && value !== null && "items" in value) {
    return await Promise.all(value.items.map((item) => plain(file, item)));
  }
  return value as Plain;
}

async function read(bytes: Uint8Array): Promise<Plain> {
  let result: Plain = null;
  await withFolder(async (folder) => {
    await Deno.writeFile(`${folder}/x.pth.tar`, bytes);
    await using file = await TorchFile.open(`${folder}/x.pth.tar`);
    result = await plain(file, file.value);
  });
  return result;
}

const refuses = (bytes: Uint8Array, message: string): Promise<Error> =>
  assertRejects(() => read(bytes), DataError, message);

describe("files of torch.save", () => {
  it("zip archives: every precision, strides, shared and CUDA storages", async () => {
    const half = new Uint8Array(new Uint16Array([0x3c00, 0xc000]).buffer);
    const bfloat = new Uint8Array(new Uint16Array([0x3f80, 0xc000]).buffer);
    const value = dict({
      a: tensor({ shape: [2, 3] }),
      transposed: tensor({ shape: [3, 2], strides: [1, 3], key: "1" }),
      half: tensor({ shape: [2], key: "2", type: "HalfStorage", location: "cuda:0" }),
      bfloat: tensor({ shape: [2], key: "3", type: "BFloat16Storage" }),
      double: tensor({ shape: [], key: "4", type: "DoubleStorage" }),
      front: tensor({ shape: [1], key: "5", length: 3 }),
      back: tensor({ shape: [2], key: "5", length: 3, offset: 1 }),
      empty: tensor({ shape: [0, 4], key: "6", length: 0 }),
    });
    const found = await read(torchZip(value, {
      0: floats(1, 2, 3, 4, 5, 6),
      1: floats(1, 2, 3, 4, 5, 6),
      2: half,
      3: bfloat,
      4: new Uint8Array(Float64Array.of(0.1).buffer),
      5: floats(7, 8, 9),
      6: floats(),
    }));
    assertEquals(
      found,
      new Map<string, Plain>([
        ["a", [[2, 3], 1, 2, 3, 4, 5, 6]],
        ["transposed", [[3, 2], 1, 4, 2, 5, 3, 6]],
        ["half", [[2], 1, -2]],
        ["bfloat", [[2], 1, -2]],
        ["double", [[], 0.1]],
        ["front", [[1], 7]],
        ["back", [[2], 8, 9]],
        ["empty", [[0, 4]]],
      ]),
    );
  });

  it("plain pickles of 2017, with views of storages", async () => {
    const view = tuple(text("1"), long(1), long(2));
    const value = dict({
      a: tensor({ shape: [2, 2], view: "N" }),
      b: tensor({ shape: [2], key: "1", length: 4, view }),
    });
    const storages = { 0: { length: 4, bytes: floats(1, 2, 3, 4) }, 1: { length: 4, bytes: floats(5, 6, 7, 8) } };
    const found = await read(torchLegacy(value, storages));
    assertEquals(found, new Map<string, Plain>([["a", [[2, 2], 1, 2, 3, 4]], ["b", [[2], 6, 7]]]));
  });

  it("tar archives from before", async () => {
    const storages = bytesOf(
      pickle("K", 1),
      pickle(tuple("K", 7, text("cpu"), global("torch", "FloatStorage"))),
      [little(6, 8), floats(1, 2, 3, 4, 5, 6)],
      pickle("]", tuple("K", 8, "K", 7, "K", 2, "K", 4), "a"),
    );
    const words = (...values: number[]): Piece => values.map((v) => little(v, 8));
    const tensors = bytesOf(
      pickle("K", 2),
      [pickle(tuple("K", 1, "K", 7, "N")), words(1, 2, 1, 0)],
      [pickle(tuple("K", 2, "K", 8, "N")), words(2, 2, 2, 1, 2, 0)],
    );
    const value = pickle(dict({ a: [text("1"), "Q"], b: [text("2"), "Q"] }));
    const found = await read(tar({ sys_info: pickle("}"), storages, tensors, pickle: value }));
    assertEquals(found, new Map<string, Plain>([["a", [[2], 1, 2]], ["b", [[2, 2], 3, 5, 4, 6]]]));
    await refuses(tar({ storages, tensors }), "a tar archive without pickle");
  });

  it("plain containers, and NumPy's numbers", async () => {
    const scalar = [
      global("numpy._core.multiarray", "scalar"),
      tuple(
        [global("numpy", "dtype"), tuple(text("f8"), 0x89, 0x88), "R", tuple("K", 3, text("<")), "b"],
        [global("_codecs", "encode"), tuple(text("\0\0\0\0\0\0ø?"), text("latin1")), "R"],
      ),
      "R",
    ];
    const ordered = [
      global("collections", "OrderedDict"),
      ")R(",
      text("k"),
      "K",
      1,
      "u",
      dict({ _metadata: "}" }),
      "b",
    ];
    const found = await read(
      torchZip(dict({ fid: scalar, ordered, list: "](K\x01K\x02e", none: "N", big: long(2n ** 60n) })),
    );
    assertEquals(
      found,
      new Map<string, Plain>([
        ["fid", 1.5],
        ["ordered", new Map<string, Plain>([["k", 1]])],
        ["list", [1, 2]],
        ["none", null],
        ["big", 2n ** 60n],
      ]),
    );
  });
});

describe("hostile and damaged files are refused in one line", () => {
  it("names what a pickle wants to run", async () => {
    for (
      const [code, name] of [
        [["cos\nsystem\n", tuple(text("echo")), "R"], "names os.system"],
        [[0x8c, 2, "os", 0x8c, 6, "system", 0x93, ")R"], "names os.system"],
        [["(", text("echo"), "iposix\nsystem\n"], "names posix.system"],
        [[global("builtins", "eval"), ")", 0x81], "names builtins.eval"],
        [[global("torch", "FloatStorage"), ")R"], "names a call of torch.FloatStorage"],
        [[global("torch.storage", "_load_from_bytes"), ")R"], "names torch.storage._load_from_bytes"],
        [[global("torch\x1b[2J", "x")], "names torch\\u001b[2J.x"],
      ] as [Piece, string][]
    ) {
      const error = await refuses(torchZip(code), name);
      assert(!error.message.includes("\n") && error.message.endsWith("nothing was run"), error.message);
      await refuses(torchLegacy(code), name);
    }
  });

  it("sizes that are not there", async () => {
    const huge = 2n ** 60n;
    const small = { 0: floats(1, 2) };
    await refuses(torchZip(tensor({ shape: [huge], length: 2 }), small), "shape, strides or offset make no sense");
    await refuses(torchZip(tensor({ shape: [huge] }), small), "refers to something that is no storage");
    await refuses(torchZip(tensor({ shape: [2 ** 40] }), small), `expects ${4 * 2 ** 40} bytes of storage 0, found 8`);
    await refuses(torchZip(tensor({ shape: [2 ** 40], length: 2 }), small), "in a storage of 2 elements");
    await refuses(torchZip(tensor({ shape: [2 ** 40], strides: [0], length: 2 }), small), "in a storage of 2 elements");
    await refuses(torchZip(tensor({ shape: [2], offset: 1, length: 2 }), small), "in a storage of 2 elements");
    await refuses(torchZip(tensor({ shape: [1, 2], strides: [-1, 1], length: 2 }), small), "make no sense");
    await refuses(torchZip(tensor({ shape: [2], key: "../../0" }), small), "storage ../../0");
    const legacy = { 0: { length: 2 ** 40, bytes: floats(1, 2) } };
    await refuses(torchLegacy(tensor({ shape: [2 ** 40] }), legacy), "cut short");
    await refuses(torchLegacy(tensor({ shape: [2] }), legacy), `expected 2 elements of storage 0, found ${2 ** 40}`);
    await refuses(torchZip([0x8e, little(huge, 8)]), "cut short");
    await refuses(torchZip([0x8b, little(2 ** 31, 4)]), "a number of 2147483648 bytes");
  });

  it("tensors and storages that overlap", async () => {
    const both = (offset: number): Piece =>
      dict({ a: tensor({ shape: [2], length: 4 }), b: tensor({ shape: [2], length: 4, offset }) });
    const storage = { 0: floats(1, 2, 3, 4) };
    await refuses(torchZip(both(1), storage), "tensors that overlap in memory");
    assertEquals((await read(torchZip(both(2), storage)) as Map<string, Plain>).size, 2);
    await refuses(
      torchZip(tensor({ shape: [2, 2], strides: [1, 1], length: 4 }), storage),
      "several indices are one element",
    );
    // Two entries of the directory that are one file: the second entry's position is made the first's.
    const zip = torchZip(dict({ a: tensor({ shape: [1] }), b: tensor({ shape: [1], key: "1" }) }), {
      0: floats(1),
      1: floats(2),
    });
    const view = new DataView(zip.buffer);
    const entries: number[] = [];
    for (let at = 0; at + 4 <= zip.length; at++) if (view.getUint32(at, true) === 0x02014b50) entries.push(at);
    view.setUint32(entries[2]! + 42, view.getUint32(entries[1]! + 42, true), true);
    await refuses(zip, "overlaps another file of it");
  });

  it("10,000 levels, endless lists, what is cut short or no pickle at all", async () => {
    const deep = 10_000;
    await refuses(torchZip(["]".repeat(deep), "a".repeat(deep - 1)]), "nests more than 100 deep");
    await refuses(torchZip("(".repeat(deep)), "nests more than 100 deep");
    await refuses(torchZip([")", Array.from({ length: deep }, () => 0x85)]), "nests more than 100 deep");
    await refuses(torchZip("]0".repeat(600_000)), "more than 500000 containers");
    for (
      const code of [
        "0",
        "t",
        "a",
        "]a",
        "}s",
        "R",
        "(R",
        "h\x05",
        "u",
        "}(Nu",
        "}(]Nu",
        "Q",
        "b",
        "\xff",
        ")b",
        "(0",
        "}q",
      ]
    ) {
      await refuses(torchZip(code), "pickle");
    }
    await refuses(new Uint8Array(), "cut short");
    await refuses(new TextEncoder().encode("<html>"), "pickle");
    await refuses(bytesOf("PK\x03\x04", new Uint8Array(100)), "no directory at its end");
    await refuses(pickle("}"), "another pickle");
    await refuses(torchZip("}", {}, { "archive/byteorder": new TextEncoder().encode("big") }), "little-endian");
  });

  it("within a second and 100 MB", async () => {
    const bombs = [
      torchZip("]0".repeat(500_001)),
      torchZip(["]".repeat(10_000), "a".repeat(9_999)]),
      torchZip(["X", little(2 ** 32 - 1, 4)]),
      torchZip(Array.from({ length: 100_000 }, () => tensor({ shape: [2 ** 20], length: 1 })), { 0: floats(1) }),
    ];
    const before = Deno.memoryUsage().rss;
    for (const bomb of bombs) {
      const start = performance.now();
      await assertRejects(() => read(bomb), DataError);
      assert(performance.now() - start < 1000, `${performance.now() - start} ms`);
    }
    assert(Deno.memoryUsage().rss - before < 100e6, `${Deno.memoryUsage().rss - before} bytes`);
  });
});

describe("fuzz", () => {
  const value = dict({
    net: dict({ "module.w": tensor({ shape: [2, 3] }), b: tensor({ shape: [2], key: "1", type: "HalfStorage" }) }),
    epoch: long(3),
    nested: tuple(text("a"), "](K\x01N", 0x88, "e"),
  });
  const bytes = { 0: floats(1, 2, 3, 4, 5, 6), 1: new Uint8Array(4) };
  const withView = dict({ w: tensor({ shape: [2, 3], view: "N" }), b: tensor({ shape: [1], key: "1", view: "N" }) });
  const good: Readonly<Record<string, Uint8Array>> = {
    zip: torchZip(value, bytes),
    legacy: torchLegacy(withView, { 0: { length: 6, bytes: bytes[0] }, 1: { length: 1, bytes: floats(1) } }),
  };

  async function survives(content: Uint8Array): Promise<boolean> {
    const path = await Deno.makeTempFile();
    try {
      await Deno.writeFile(path, content);
      await using file = await TorchFile.open(path);
      await plain(file, file.value);
      return true;
    } catch (error) {
      return error instanceof DataError && !error.message.includes("\n");
    } finally {
      await Deno.remove(path);
    }
  }

  for (const [name, content] of Object.entries(good)) {
    it(`${name}: cut anywhere`, async () => {
      assert(await survives(content));
      for (let end = 0; end < content.length; end++) {
        await assertRejects(() => read(content.subarray(0, end)), DataError, undefined, `${end}`);
      }
    });

    it(`${name}: bytes changed anywhere`, async () => {
      const change = fc.tuple(fc.nat(content.length - 1), fc.nat(255));
      await fc.assert(
        fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 6 }), async (changes) => {
          const changed = content.slice();
          for (const [at, byte] of changes) changed[at] = byte;
          assert(await survives(changed));
        }),
        { numRuns: 400 },
      );
    });
  }

  it("random instructions", async () => {
    const instruction = fc.constantFrom<Piece>(
      "(",
      ")",
      "]",
      "}",
      "0",
      "1",
      "2",
      "N",
      "t",
      "e",
      "a",
      "s",
      "u",
      "R",
      "b",
      "Q",
      "l",
      "d",
      0x85,
      0x86,
      0x87,
      0x88,
      0x8f,
      0x90,
      0x91,
      0x93,
      0x94,
      "h\0",
      "q\0",
      "K\x01",
      text("storage"),
      text("0"),
      global("torch", "FloatStorage"),
      global("collections", "OrderedDict"),
      global("torch._utils", "_rebuild_tensor_v2"),
      global("torch._utils", "_rebuild_parameter"),
      global("numpy", "dtype"),
      tensor({ shape: [1] }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(instruction, { maxLength: 40 }), async (code) => {
        assert(await survives(torchZip(code, { 0: floats(1) })));
      }),
      { numRuns: 500 },
    );
  });
});

describe("writing", () => {
  it("gives back any value, and equal bytes for equal values", async () => {
    const leaf = fc.oneof(
      fc.constant(null),
      fc.boolean(),
      fc.maxSafeInteger(),
      fc.double({ noNaN: true }),
      fc.string({ unit: "binary" }),
    );
    const sample = fc.letrec<{ value: TorchValue }>((tie) => ({
      value: fc.oneof(
        { maxDepth: 3 },
        leaf,
        fc.array(tie("value"), { maxLength: 4 }),
        fc.dictionary(fc.string(), tie("value")).map((d) => new Map(Object.entries(d))),
      ),
    })).value;
    const expected = (value: TorchValue): unknown =>
      value instanceof Map
        ? new Map([...value].map(([k, v]) => [k, expected(v)]))
        : Array.isArray(value)
        ? value.map(expected)
        : Object.is(value, -0)
        ? 0
        : value;
    await withFolder(async (folder) => {
      await fc.assert(
        fc.asyncProperty(sample, async (value) => {
          await writeTorch(`${folder}/a`, value);
          await using file = await TorchFile.open(`${folder}/a`);
          assertEquals(await plain(file, file.value), expected(value) as Plain);
        }),
        { numRuns: 100 },
      );
    });
  });

  it("aligns tensors, and writes the same file twice", async () => {
    await withFolder(async (folder) => {
      const value = new Map<string, TorchValue>([
        ["w", tensorOf([2, 2], Float32Array.of(1, 2, 3, 4))],
        ["betas", new TorchTuple(0.5, 0.5)],
        ["n", tensorOf([3], Int32Array.of(1, 2, 3))],
      ]);
      await writeTorch(`${folder}/a`, value);
      await writeTorch(`${folder}/b`, value);
      const bytes = await Deno.readFile(`${folder}/a`);
      assertEquals(bytes, await Deno.readFile(`${folder}/b`));
      await using file = await TorchFile.open(`${folder}/a`);
      assertEquals(
        await plain(file, file.value),
        new Map<string, Plain>([["w", [[2, 2], 1, 2, 3, 4]], ["betas", [0.5, 0.5]], ["n", [[3], 1, 2, 3]]]),
      );
      const { entries } = file.value as PickleDict;
      for (const key of ["w", "n"]) assertEquals(await (entries.get(key) as TorchTensor).storage.locate() % 64, 0);
    });
  });
});
