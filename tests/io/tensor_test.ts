import { describe, it } from "@std/testing/bdd";
import { assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { DataError } from "../../src/errors.ts";
import { type FileDtype, tensorOf, toFloat32, toFloat64, toIntegers } from "../../src/io/tensor.ts";

/** A tensor of one dimension over raw little-endian bytes. */
function raw(dtype: FileDtype, bytes: readonly number[], size: number) {
  return { dtype, shape: [bytes.length / size], bytes: Uint8Array.from(bytes) };
}

function uint16Bytes(values: readonly number[]): number[] {
  return values.flatMap((value) => [value & 0xff, value >>> 8]);
}

describe("toFloat32", () => {
  it("reads half precision: normal, subnormal, infinite, not a number", () => {
    const bits = [0x3c00, 0xc000, 0x7bff, 0x0001, 0x03ff, 0x0400, 0x8000, 0x7c00, 0xfc00, 0x7e00];
    const expected = [1, -2, 65504, 2 ** -24, 1023 * 2 ** -24, 2 ** -14, -0, Infinity, -Infinity, NaN];
    assertEquals(toFloat32(raw("F16", uint16Bytes(bits), 2)), Float32Array.from(expected));
  });

  it("reads bfloat16", () => {
    const bits = [0x3f80, 0xbf00, 0x4049, 0x7f80, 0x0001, 0x7fc0];
    const expected = [1, -0.5, 3.140625, Infinity, 2 ** -133, NaN];
    assertEquals(toFloat32(raw("BF16", uint16Bytes(bits), 2)), Float32Array.from(expected));
  });

  it("reads integers and booleans", () => {
    assertEquals(toFloat32(raw("I64", [255, 255, 255, 255, 255, 255, 255, 255], 8)), Float32Array.of(-1));
    assertEquals(toFloat32(raw("I32", [0, 0, 0, 128], 4)), Float32Array.of(-(2 ** 31)));
    assertEquals(toFloat32(raw("U32", [0, 0, 0, 128], 4)), Float32Array.of(2 ** 31));
    assertEquals(toFloat32(raw("I16", [0, 128], 2)), Float32Array.of(-32768));
    assertEquals(toFloat32(raw("I8", [128, 127], 1)), Float32Array.of(-128, 127));
    assertEquals(toFloat32(raw("U8", [128, 255], 1)), Float32Array.of(128, 255));
    assertEquals(toFloat32(raw("BOOL", [0, 1, 7], 1)), Float32Array.of(0, 1, 1));
  });

  it("views aligned float32 memory, and copies what is not aligned", () => {
    const data = Float32Array.of(1, 2, 3);
    assertEquals(toFloat32(tensorOf([3], data)).buffer === data.buffer, true);
    const shifted = new Uint8Array(13);
    shifted.set(new Uint8Array(data.buffer), 1);
    assertEquals(toFloat32({ dtype: "F32", shape: [3], bytes: shifted.subarray(1) }), data);
  });

  it("returns any float32 unchanged, by way of every type that holds it", () => {
    fc.assert(fc.property(fc.float32Array(), (data) => {
      assertEquals(toFloat32(tensorOf([data.length], data)), data);
      assertEquals(toFloat32(tensorOf([data.length], Float64Array.from(data))), data);
    }));
    fc.assert(fc.property(fc.int16Array(), (data) => {
      assertEquals(toFloat64(tensorOf([data.length], data)), Float64Array.from(data));
    }));
  });
});

describe("toIntegers", () => {
  it("refuses fractions and what a double cannot hold", () => {
    assertEquals(toIntegers(tensorOf([2], Float32Array.of(3, -4))), Float64Array.of(3, -4));
    assertThrows(() => toIntegers(tensorOf([2], Float32Array.of(3, 0.5))), DataError, "found 0.5 at position 1");
    const huge = raw("I64", [0, 0, 0, 0, 0, 0, 0, 64], 8);
    assertThrows(() => toIntegers(huge), DataError, "expected whole numbers");
  });
});

describe("tensorOf", () => {
  it("refuses a shape that does not fit", () => {
    assertThrows(() => tensorOf([2, 2], new Float32Array(3)), DataError, "expected 4 values for shape [2, 2], got 3");
    assertEquals(tensorOf([], Float64Array.of(5)).bytes.length, 8);
  });
});
