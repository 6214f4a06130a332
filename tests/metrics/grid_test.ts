import { describe, it } from "@std/testing/bdd";
import { assertEquals, assertThrows } from "@std/assert";
import { DataError } from "../../src/errors.ts";
import { gridBands, type GridPanel, imageGrid } from "../../src/metrics/grid.ts";

function panel(count: number, size: number, channels: number, value = 0): GridPanel {
  const images = new Float32Array(count * size * size * channels).fill(value);
  return { images, count, height: size, width: size, channels };
}

/** The picture's rows as text: one letter per distinct value. */
function draw({ width, height, data }: ReturnType<typeof imageGrid>, letters: Record<number, string>): string[] {
  return Array.from(
    { length: height },
    (_, y) => Array.from(data.subarray(y * width, (y + 1) * width), (value) => letters[value] ?? "?").join(""),
  );
}

describe("imageGrid", () => {
  it("lays images out in reading order, spaced and enlarged", () => {
    const images = Float32Array.of(-1, 1, 1, -1, 1, 1, 1, 1, -1, -1, -1, -1);
    const picture = imageGrid([{ images, count: 3, height: 2, width: 2, channels: 1 }], {
      columns: 2,
      scale: 2,
      spacing: 1,
    });
    assertEquals([picture.width, picture.height, picture.channels], [11, 11, 1]);
    assertEquals(draw(picture, { 0: "0", 255: "1", 48: "." }), [
      "...........",
      ".0011.1111.",
      ".0011.1111.",
      ".1100.1111.",
      ".1100.1111.",
      "...........",
      ".0000......",
      ".0000......",
      ".0000......",
      ".0000......",
      "...........",
    ]);
  });

  it("puts panels side by side, with a line between them", () => {
    const picture = imageGrid([panel(1, 1, 1, -1), panel(1, 1, 1, 1)], { scale: 1, spacing: 1, panelGap: 3 });
    assertEquals(draw(picture, { 0: "0", 255: "1", 48: ".", 200: "|" }), ["....|....", ".0..|..1.", "....|...."]);
    const three = imageGrid([panel(4, 8, 1), panel(4, 8, 1), panel(4, 8, 1)]);
    assertEquals(three.width, 3 * (2 + 2 * 42) + 2 * 12);
  });

  it("enlarges small images at least fivefold, and large ones not at all", () => {
    const width = (size: number) => imageGrid([panel(1, size, 1)], { spacing: 0 }).width;
    assertEquals([8, 16, 32, 40, 64].map(width), [40, 48, 64, 40, 64]);
  });

  it("keeps colours, and shows grey panels beside them as grey", () => {
    const colour: GridPanel = { images: Float32Array.of(-1, 0, 1), count: 1, height: 1, width: 1, channels: 3 };
    const picture = imageGrid([colour, panel(1, 1, 1, 1)], { scale: 1, spacing: 0, panelGap: 0 });
    assertEquals([picture.channels, ...picture.data], [3, 0, 128, 255, 255, 255, 255]);
  });

  it("clamps values beyond [-1, 1]", () => {
    const images = Float32Array.of(-3, 3);
    const picture = imageGrid([{ images, count: 2, height: 1, width: 1, channels: 1 }], { scale: 1, spacing: 0 });
    assertEquals([...picture.data], [0, 255]);
  });

  it("refuses what cannot be shown", () => {
    assertThrows(() => imageGrid([]), DataError, "at least one panel");
    assertThrows(() => imageGrid([panel(0, 8, 1)]), DataError, "at least one image");
    assertThrows(() => imageGrid([panel(1, 8, 2)]), DataError, "1 or 3 channels, got 2");
    assertThrows(() => imageGrid([{ ...panel(2, 8, 1), count: 3 }]), DataError, "3 images of 8×8×1 values");
    assertThrows(() => imageGrid([panel(2, 8, 1, NaN)]), DataError, "found NaN in image 0");
    assertThrows(() => imageGrid([panel(1, 8, 1)], { scale: 0 }), DataError, "scale to be a positive integer");
    assertThrows(() => imageGrid([panel(1, 8, 1)], { spacing: -1 }), DataError, "spacing to be a non-negative");
  });
});

describe("gridBands", () => {
  for (const [count, panels, channels] of [[7, 1, 1], [5, 2, 3], [1, 2, 1], [9, 1, 3]] as const) {
    it(`gives the picture of ${count} images in ${panels} panels of ${channels} channels`, async () => {
      const size = { height: 3, width: 4, channels };
      const values = Array.from(
        { length: panels },
        (_, p) => Float32Array.from({ length: count * 12 * channels }, (_, i) => Math.sin(i + p)),
      );
      const read = (p: number, first: number, n: number): Promise<Float32Array> =>
        Promise.resolve(values[p]!.subarray(first * 12 * channels, (first + n) * 12 * channels));
      const { bands, ...picture } = gridBands({ ...size, count, panels, read });
      const data = (await Array.fromAsync(bands)).flatMap((band) => [...band]);
      const whole = imageGrid(values.map((images) => ({ ...size, count, images })));
      assertEquals({ ...picture, data }, { ...whole, data: [...whole.data] });
    });
  }
});
