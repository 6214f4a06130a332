import { describe, it } from "@std/testing/bdd";
import { assertEquals, assertThrows } from "@std/assert";
import sharp from "sharp";
import { crc32, inflateSync } from "node:zlib";
import { DataError } from "../../src/errors.ts";
import { encodeApng } from "../../src/io/apng.ts";
import type { Pixels } from "../../src/io/png.ts";

const frame = (value: number): Pixels => ({ width: 3, height: 2, channels: 1, data: new Uint8Array(6).fill(value) });

interface Chunk {
  readonly type: string;
  readonly content: Uint8Array;
}

/** The chunks of a file, their checksums verified. */
function chunksOf(file: Uint8Array): Chunk[] {
  const view = new DataView(file.buffer, file.byteOffset);
  const chunks: Chunk[] = [];
  for (let at = 8; at < file.length;) {
    const length = view.getUint32(at);
    const content = file.subarray(at + 8, at + 8 + length);
    assertEquals(view.getUint32(at + 8 + length), crc32(file.subarray(at + 4, at + 8 + length)));
    chunks.push({ type: new TextDecoder().decode(file.subarray(at + 4, at + 8)), content });
    at += 12 + length;
  }
  return chunks;
}

describe("encodeApng", () => {
  it("holds every frame, its number and its time", async () => {
    const file = encodeApng([frame(10), frame(200), frame(90)], { delay: 50, lastDelay: 700 });
    const chunks = chunksOf(file);
    assertEquals(
      chunks.map(({ type }) => type),
      ["IHDR", "acTL", "fcTL", "IDAT", "fcTL", "fdAT", "fcTL", "fdAT", "IEND"],
    );
    const word = ({ content }: Chunk, at: number): number =>
      new DataView(content.buffer, content.byteOffset).getUint32(at);
    assertEquals([word(chunks[1]!, 0), word(chunks[1]!, 4)], [3, 0]);
    assertEquals(chunks.filter(({ type }) => /^f[cd]/.test(type)).map((chunk) => word(chunk, 0)), [0, 1, 2, 3, 4]);
    const controls = chunks.filter(({ type }) => type === "fcTL");
    assertEquals(controls.map((chunk) => word(chunk, 20) >>> 16), [50, 50, 700]);
    // Each row: a filter byte (2: what differs from the row above), then the pixels.
    const rows = (value: number): number[] => [2, value, value, value, 2, 0, 0, 0];
    assertEquals([...inflateSync(chunks[5]!.content.subarray(4))], rows(200));
    assertEquals([...inflateSync(chunks[7]!.content.subarray(4))], rows(90));
    const { data } = await sharp(file).toColourspace("b-w").raw().toBuffer({ resolveWithObject: true });
    assertEquals([...data], [...frame(10).data]);
  });

  it("refuses no frames and frames of several sizes", () => {
    assertThrows(() => encodeApng([]), DataError, "at least one frame");
    assertThrows(
      () => encodeApng([frame(1), { width: 2, height: 1, channels: 1, data: new Uint8Array(2) }]),
      DataError,
      "frame 1: expected 3×2×1 as the first, got 2×1×1",
    );
  });
});
