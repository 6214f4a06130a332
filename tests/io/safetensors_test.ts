import { describe, it } from "@std/testing/bdd";
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import fc from "fast-check";
import { CheckpointError, CoopFlowError, DataError, UsageError } from "../../src/errors.ts";
import {
  parseSafetensors,
  readSafetensors,
  SafetensorsFile,
  tensorOf,
  type TensorToWrite,
  toFloat32,
  toIntegers,
  writeSafetensors,
} from "../../src/io/safetensors.ts";
import { namesIn, withFolder } from "./support.ts";

/** A file from header text and data bytes. */
function fileOf(header: string, data: Uint8Array | number = 0): Uint8Array<ArrayBuffer> {
  const json = new TextEncoder().encode(header);
  const bytes = typeof data === "number" ? new Uint8Array(data) : data;
  const file = new Uint8Array(8 + json.length + bytes.length);
  new DataView(file.buffer).setBigUint64(0, BigInt(json.length), true);
  file.set(json, 8);
  file.set(bytes, 8 + json.length);
  return file;
}

const sample = new Map<string, TensorToWrite>([
  ["z.bytes", tensorOf([3], Uint8Array.of(1, 2, 3))],
  ["b.weight", tensorOf([2, 2], Float32Array.of(1, 2, 3, 4))],
  ["a.weight", tensorOf([1], Float32Array.of(5))],
  ["scalar", tensorOf([], Float64Array.of(0.1))],
  ["empty", tensorOf([0, 7], new Float32Array(0))],
]);

describe("writeSafetensors", () => {
  it("writes what readSafetensors reads, largest elements first, then by name, data aligned to 8 bytes", async () => {
    await withFolder(async (folder) => {
      const path = `${folder}/a.safetensors`;
      await writeSafetensors(path, sample, new Map([["note", "ünï\n"], ["iteration", "3"]]));
      const { tensors, metadata } = await readSafetensors(path);
      assertEquals([...tensors.keys()], ["scalar", "a.weight", "b.weight", "empty", "z.bytes"]);
      assertEquals([...metadata], [["iteration", "3"], ["note", "ünï\n"]]);
      for (const [name, written] of sample) {
        const read = tensors.get(name);
        assertEquals([read?.dtype, read?.shape, read?.bytes], [written.dtype, written.shape, written.bytes]);
      }
      const bytes = await Deno.readFile(path);
      assertEquals(Number(new DataView(bytes.buffer).getBigUint64(0, true)) % 8, 0);
    });
  });

  it("gives the same bytes in whatever order it is told", async () => {
    await withFolder(async (folder) => {
      const meta = new Map([["x", "1"], ["y", "2"]]);
      await writeSafetensors(`${folder}/a`, sample, meta);
      await writeSafetensors(`${folder}/b`, new Map([...sample].reverse()), new Map([...meta].reverse()));
      assertEquals(await Deno.readFile(`${folder}/a`), await Deno.readFile(`${folder}/b`));
    });
  });

  it("fetches tensors one at a time, when their turn comes", async () => {
    await withFolder(async (folder) => {
      let open = 0;
      const lazy = (value: number): TensorToWrite => ({
        dtype: "F32",
        shape: [2],
        bytes: async () => {
          assertEquals(++open, 1);
          await Promise.resolve();
          open--;
          return new Uint8Array(Float32Array.of(value, value).buffer);
        },
      });
      await writeSafetensors(`${folder}/a`, new Map([["x", lazy(1)], ["y", lazy(2)]]));
      const { tensors } = await readSafetensors(`${folder}/a`);
      const y = tensors.get("y");
      assert(y !== undefined);
      assertEquals(toFloat32(y), Float32Array.of(2, 2));
    });
  });

  it("keeps the old file when a tensor does not fit its shape", async () => {
    await withFolder(async (folder) => {
      const path = `${folder}/a`;
      await writeSafetensors(path, sample);
      const before = await Deno.readFile(path);
      const wrong: TensorToWrite = { dtype: "F32", shape: [2], bytes: () => new Uint8Array(4) };
      await assertRejects(() => writeSafetensors(path, new Map([["w", wrong]])), UsageError, "expected 8 bytes");
      await assertRejects(() => writeSafetensors(path, new Map([["__metadata__", wrong]])), UsageError);
      assertEquals(await Deno.readFile(path), before);
      assertEquals(namesIn(folder), ["a"]);
    });
  });

  it("and the parser are inverse, whatever the names and values", async () => {
    await withFolder(async (folder) => {
      const path = `${folder}/a`;
      const name = fc.string({ unit: "binary" }).filter((text) => text !== "__metadata__");
      const tensors = fc.dictionary(name, fc.oneof(fc.float32Array(), fc.uint8Array(), fc.int32Array()));
      await fc.assert(
        fc.asyncProperty(tensors, fc.dictionary(fc.string(), fc.string()), async (arrays, metadata) => {
          const written = new Map(Object.entries(arrays).map(([key, data]) => [key, tensorOf([data.length], data)]));
          await writeSafetensors(path, written, new Map(Object.entries(metadata)));
          const read = parseSafetensors(await Deno.readFile(path), "a");
          assertEquals([...read.tensors.keys()].sort(), [...written.keys()].sort());
          for (const [key, tensor] of written) assertEquals(read.tensors.get(key), tensor);
          assertEquals(read.metadata.size, Object.keys(metadata).length);
          for (const [key, value] of Object.entries(metadata)) assertEquals(read.metadata.get(key), value);
        }),
        { numRuns: 50 },
      );
    });
  });
});

describe("SafetensorsFile", () => {
  it("reads single tensors and parts of them", async () => {
    await withFolder(async (folder) => {
      await writeSafetensors(`${folder}/a`, sample, new Map([["k", "v"]]));
      await using file = await SafetensorsFile.open(`${folder}/a`);
      assertEquals(file.metadata.get("k"), "v");
      assertEquals(file.tensors.get("b.weight")?.shape, [2, 2]);
      assertEquals(toFloat32(await file.read("b.weight")), Float32Array.of(1, 2, 3, 4));
      assertEquals(await file.readBytes("z.bytes", 1, 3), Uint8Array.of(2, 3));
      assertEquals((await file.read("empty")).bytes.length, 0);
      await assertRejects(() => file.readBytes("z.bytes", 1, 4), UsageError, "within the 3 bytes");
      await assertRejects(() => file.read("c"), DataError, "expected a tensor named c, found scalar, a.weight");
    });
  });

  it("names the missing file, with the class of error that was asked for", async () => {
    const error = await assertRejects(() => SafetensorsFile.open("/none", { fail: CheckpointError }), CheckpointError);
    assertEquals(error.message, "cannot read /none: no such file or directory");
    await withFolder(async (folder) => {
      await assertRejects(() => SafetensorsFile.open(folder), DataError, folder);
    });
  });

  it("refuses a file that was cut short anywhere", async () => {
    await withFolder(async (folder) => {
      const path = `${folder}/a`;
      await writeSafetensors(path, sample);
      const whole = await Deno.readFile(path);
      for (let size = 0; size < whole.length; size++) {
        await Deno.writeFile(path, whole.subarray(0, size));
        const error = await assertRejects(() => readSafetensors(path, { fail: CheckpointError }), CheckpointError);
        assert(error.message.startsWith(path) && error.message.includes("cut short"), error.message);
      }
    });
  });
});

describe("parseSafetensors", () => {
  const entry = (fields: object) =>
    JSON.stringify({ t: { dtype: "F32", shape: [2], data_offsets: [0, 8], ...fields } });

  it("accepts padding after the header, and a file without tensors", () => {
    assertEquals(parseSafetensors(fileOf(entry({}) + "   ", 8), "f").tensors.get("t")?.shape, [2]);
    assertEquals(parseSafetensors(fileOf("{}"), "f").tensors.size, 0);
  });

  it("reads a name that objects treat specially", () => {
    const header = '{"__proto__":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}';
    assertEquals(parseSafetensors(fileOf(header, 1), "f").tensors.get("__proto__")?.dtype, "U8");
  });

  const refused: readonly [string, Uint8Array, string][] = [
    ["an empty file", new Uint8Array(0), "0 bytes hold no header"],
    ["a header beyond the file", fileOf("{}").fill(255, 0, 2), "claims a header of 65535"],
    ["a huge header", fileOf("{}").fill(255, 0, 8), "claims a header of"],
    ["another kind of file", fileOf("[]"), 'does not start with "{"'],
    ["broken JSON", fileOf('{"t":'), "not JSON"],
    ["invalid UTF-8", fileOf('{"x"}').fill(0xff, 10, 11), "not JSON in UTF-8"],
    ["deep nesting", fileOf(`{"t":${"[".repeat(200_000)}`), "not JSON"],
    ["an unknown type", fileOf(entry({ dtype: "F8" }), 8), 'found "F8"'],
    ["a type named like a method", fileOf(entry({ dtype: "toString" }), 8), 'found "toString"'],
    ["a negative size", fileOf(entry({ shape: [-2] }), 8), "non-negative integers"],
    ["a fractional size", fileOf(entry({ shape: [0.5] }), 8), "non-negative integers"],
    ["a size that is text", fileOf(entry({ shape: ["2"] }), 8), "non-negative integers"],
    ["a size beyond integers", fileOf(entry({ shape: [1e300] }), 8), "non-negative integers"],
    ["a product beyond integers", fileOf(entry({ shape: [2 ** 50, 2 ** 50] }), 8), "do not hold the"],
    ["offsets that do not fit the shape", fileOf(entry({ data_offsets: [0, 4] }), 8), "do not hold the 8 bytes"],
    ["offsets turned round", fileOf(entry({ data_offsets: [8, 0] }), 8), "do not hold"],
    ["three offsets", fileOf(entry({ data_offsets: [0, 8, 8] }), 8), "two non-negative integers"],
    ["an unknown field", fileOf(entry({ extra: 1 }), 8), 'unknown field "extra"'],
    ["a hole in front", fileOf(entry({ data_offsets: [4, 12] }), 12), "leaves a hole"],
    ["too little data", fileOf(entry({}), 7), "cut short: its tensors need 8 bytes of data, it has 7"],
    ["too much data", fileOf(entry({}), 9), "corrupt: its tensors need 8 bytes of data, it has 9"],
    ["metadata that is no object", fileOf('{"__metadata__":[]}'), "to be an object"],
    ["metadata that is no text", fileOf('{"__metadata__":{"a":1}}'), '"a" to be a string'],
    [
      "an overlap",
      fileOf(
        JSON.stringify({
          a: { dtype: "U8", shape: [4], data_offsets: [0, 4] },
          b: { dtype: "U8", shape: [4], data_offsets: [2, 6] },
        }),
        6,
      ),
      "overlaps",
    ],
  ];
  for (const [what, bytes, message] of refused) {
    it(`refuses ${what}`, () => {
      const error = assertThrows(() => parseSafetensors(bytes, "model"), DataError, message);
      assert(error.message.startsWith("model: "), error.message);
      assert(error.message.length < 400 && !error.message.includes("\n") && !error.message.endsWith("."));
      assertThrows(() => parseSafetensors(bytes, "model", { fail: CheckpointError }), CheckpointError);
    });
  }

  it("throws nothing but CoopFlowErrors, whatever bytes are changed or cut", async () => {
    const original = await withSampleBytes();
    const headerEnd = 8 + Number(new DataView(original.buffer).getBigUint64(0, true));
    // Mostly in the header, where it hurts.
    const position = fc.oneof(fc.nat(headerEnd - 1), fc.nat(original.length - 1));
    const changes = fc.array(fc.tuple(position, fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(changes, fc.option(fc.nat(original.length)), (flips, cut) => {
        const bytes = original.slice(0, cut ?? undefined);
        for (const [at, value] of flips) if (at < bytes.length) bytes[at] = value;
        try {
          const { tensors } = parseSafetensors(bytes, "fuzzed");
          // What is accepted lies within the file, and can be read.
          for (const tensor of tensors.values()) {
            assert(tensor.bytes.length <= bytes.length);
            toFloat32(tensor);
          }
        } catch (error) {
          if (!(error instanceof CoopFlowError)) throw error;
        }
      }),
      { numRuns: 5000 },
    );
  });

  it("throws nothing but CoopFlowErrors for headers of random JSON", () => {
    const value = fc.jsonValue({ maxDepth: 3 });
    const tensor = fc.record({
      dtype: fc.oneof(fc.constantFrom("F32", "U8", "I64"), value),
      shape: fc.oneof(fc.array(fc.integer({ min: -1, max: 5 }), { maxLength: 3 }), value),
      data_offsets: fc.oneof(fc.tuple(fc.integer({ min: -1, max: 64 }), fc.integer({ min: -1, max: 64 })), value),
    }, { requiredKeys: [] });
    const header = fc.dictionary(fc.oneof(fc.string(), fc.constant("__metadata__")), fc.oneof(tensor, value));
    fc.assert(
      fc.property(header, fc.nat(64), (json, size) => {
        try {
          parseSafetensors(fileOf(JSON.stringify(json), size), "fuzzed");
        } catch (error) {
          if (!(error instanceof CoopFlowError)) throw error;
        }
      }),
      { numRuns: 2000 },
    );
  });

  it("reads a file of another writer: the built-in digits", async () => {
    const bytes = await Deno.readFile(new URL("../../src/data/digits.safetensors", import.meta.url));
    const { tensors, metadata } = parseSafetensors(bytes, "digits");
    assertEquals(metadata.get("levels"), "17");
    assertEquals(tensors.get("images")?.shape, [1797, 8, 8]);
    const heldout = tensors.get("heldout");
    assert(heldout !== undefined);
    assertEquals(new Set(toIntegers(heldout)).size, 297);
  });
});

async function withSampleBytes(): Promise<Uint8Array<ArrayBuffer>> {
  let bytes = new Uint8Array(0);
  await withFolder(async (folder) => {
    await writeSafetensors(`${folder}/a`, sample, new Map([["key", "value"]]));
    bytes = await Deno.readFile(`${folder}/a`);
  });
  return bytes;
}
