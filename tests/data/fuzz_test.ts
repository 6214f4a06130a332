import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { describe, it } from "@std/testing/bdd";
import { assert } from "@std/assert";
import { CoopFlowError } from "../../src/errors.ts";
import { openDataset } from "../../src/data/open.ts";
import { withFolder } from "../io/support.ts";
import { cifarPython, idx, npy, npz, pixels, svhn, tar } from "./files.ts";

const image = pixels(1, 3072);
/** A small good file of each kind that has a parser. */
const GOOD: readonly [string, Uint8Array][] = [
  ["set.idx", idx([2, 3, 4], pixels(2, 12))],
  ["set.idx.gz", gzipSync(idx([2, 3, 4], pixels(2, 12)))],
  ["set.npy", npy("<f4", [2, 2, 2], new Uint8Array(Float32Array.from({ length: 8 }, (_, i) => i / 8).buffer))],
  ["set.npz", npz({ images: npy("|u1", [2, 3, 4], pixels(2, 12)) })],
  ["set.mat", svhn(2, 4, pixels(2, 48))],
  ["set.tar.gz", gzipSync(tar([{ path: "data_batch_1", data: cifarPython(1, image) }]))],
  ["data_batch_1", cifarPython(1, image)],
];

type Change = { readonly at: number; readonly value: number };
const changes = fc.array(fc.record({ at: fc.nat(2 ** 20), value: fc.nat(255) }), { maxLength: 8 });
/** Mostly the beginning, where headers are. */
const heads = fc.array(fc.record({ at: fc.nat(200), value: fc.nat(255) }), { minLength: 1, maxLength: 4 });

function damaged(bytes: Uint8Array, list: readonly Change[], cut: number): Uint8Array {
  const copy = bytes.slice(0, Math.ceil(bytes.length * (1 - cut)));
  for (const { at, value } of list) if (copy.length > 0) copy[at % copy.length] = value;
  return copy;
}

/** What the largest array that was asked for may have: all that a file of this size could unpack to, and room for texts. */
const mostBytes = (size: number): number => 1032 * size + 2 ** 21;

/** Opens bytes: either images or one line that says what is wrong, and no array larger than the file justifies. */
async function survives(folder: string, name: string, bytes: Uint8Array): Promise<void> {
  const path = name === "data_batch_1" ? `${folder}/set` : `${folder}/${name}`;
  await Deno.writeFile(name === "data_batch_1" ? `${path}/${name}` : path, bytes);
  let largest = 0;
  const watch = <T extends object>(type: T): T =>
    new Proxy(type, {
      construct(target, args, newTarget) {
        if (typeof args[0] === "number") largest = Math.max(largest, args[0]);
        return Reflect.construct(target as unknown as new (...given: unknown[]) => object, args, newTarget);
      },
    });
  const { Uint8Array: bytesType, Float64Array: doublesType } = globalThis;
  globalThis.Uint8Array = watch(bytesType);
  globalThis.Float64Array = watch(doublesType);
  try {
    using opened = await openDataset(path);
    assert(opened.train.count > 0);
  } catch (error) {
    assert(error instanceof CoopFlowError, `${error}\n${error instanceof Error ? error.stack : ""}`);
    assert(!error.message.includes("\n") && error.message.length < 600, error.message);
  } finally {
    globalThis.Uint8Array = bytesType;
    globalThis.Float64Array = doublesType;
  }
  assert(largest <= mostBytes(bytes.length), `an array of ${largest} for a file of ${bytes.length} bytes`);
}

describe("readers of data", () => {
  for (const [name, good] of GOOD) {
    it(`survive damage of ${name}, and take no more memory than it justifies`, async () => {
      await withFolder(async (folder) => {
        await Deno.mkdir(`${folder}/set`);
        const damage = fc.tuple(
          fc.oneof(heads, changes),
          fc.oneof(fc.constant(0), fc.double({ min: 0, max: 1, noNaN: true })),
        );
        await fc.assert(
          fc.asyncProperty(damage, async ([list, cut]) => {
            await survives(folder, name, damaged(good, list, cut));
          }),
          { numRuns: 150 },
        );
      });
    });
  }

  it("survive any bytes under any name", async () => {
    await withFolder(async (folder) => {
      const names = fc.constantFrom("a", "a.npy", "a.npz", "a.mat", "a.tar.gz", "a.safetensors");
      const starts = fc.constantFrom([], [0x1f, 0x8b], [0, 0, 8, 3], [0x93, 78, 85, 77, 80, 89], [0x50, 0x4b, 3, 4]);
      await fc.assert(
        fc.asyncProperty(names, starts, fc.uint8Array({ maxLength: 600 }), async (name, start, rest) => {
          await survives(folder, name, Uint8Array.of(...start, ...rest));
        }),
        { numRuns: 300 },
      );
    });
  });
});
