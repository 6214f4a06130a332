// The adapter behind "@std/assert" must be able to fail: each assertion is tried with something that it must refuse.

import * as std from "@std/assert";
import { describe, it } from "@std/testing/bdd";

/** Fails unless `fn` throws an AssertionError; without the assertions under test. */
function refused(fn: () => void): void {
  try {
    fn();
  } catch (error) {
    if (error instanceof std.AssertionError) return;
    throw error;
  }
  throw new Error(`expected an AssertionError from ${fn}`);
}

describe("@std/assert adapter", () => {
  it("accepts what holds", () => {
    std.assert(1);
    std.assertFalse("");
    std.assertEquals({ a: [1, NaN], b: new Map([[1, 2]]) }, { a: [1, NaN], b: new Map([[1, 2]]) });
    std.assertEquals(new Float32Array([1, 2]), new Float32Array([1, 2]));
    std.assertNotEquals([1], [2]);
    std.assertStrictEquals(NaN, NaN);
    std.assertNotStrictEquals([], []);
    std.assertAlmostEquals(1, 1 + 1e-8);
    std.assertAlmostEquals(1, 1.05, 0.1);
    std.assertAlmostEquals(Infinity, Infinity);
    std.assertExists(0);
    std.assertGreater(2, 1);
    std.assertGreaterOrEqual(2, 2);
    std.assertLess(1, 2);
    std.assertLessOrEqual(2, 2);
    std.assertMatch("abc", /b/g);
    std.assertNotMatch("abc", /d/);
    std.assertStringIncludes("abc", "bc");
    std.assertArrayIncludes([[1], [2]], [[2]]);
    std.assertObjectMatch({ a: 1, b: { c: [1, 2], d: 3 } }, { b: { c: [1, 2] } });
    std.assertInstanceOf(new TypeError(), Error);
  });

  it("refuses what does not hold", () => {
    refused(() => std.assert(0));
    refused(() => std.assertFalse(1));
    refused(() => std.assertEquals<unknown>({ a: 1 }, { a: 1, b: undefined }));
    refused(() => std.assertEquals(0, -0));
    refused(() => std.assertEquals<unknown>(new Float32Array([1]), new Float64Array([1])));
    refused(() => std.assertNotEquals([1], [1]));
    refused(() => std.assertStrictEquals([], []));
    refused(() => std.assertNotStrictEquals(1, 1));
    refused(() => std.assertAlmostEquals(1, 1 + 1e-6));
    refused(() => std.assertAlmostEquals(NaN, 1, 10));
    refused(() => std.assertAlmostEquals(1, NaN, 10));
    refused(() => std.assertAlmostEquals(1, Infinity));
    refused(() => std.assertExists(null));
    refused(() => std.assertGreater(1, 1));
    refused(() => std.assertGreater(NaN, 1));
    refused(() => std.assertGreaterOrEqual(1, 2));
    refused(() => std.assertLess(1, 1));
    refused(() => std.assertLessOrEqual(NaN, 1));
    refused(() => std.assertMatch("abc", /d/));
    refused(() => std.assertNotMatch("abc", /b/));
    refused(() => std.assertStringIncludes("abc", "d"));
    refused(() => std.assertArrayIncludes([1, 2], [3]));
    refused(() => std.assertObjectMatch({ a: 1 }, { b: undefined }));
    refused(() => std.assertObjectMatch({ a: [1, 2] }, { a: [1, 3] }));
    refused(() => std.assertInstanceOf(new Error(), TypeError));
    refused(() => std.fail());
    refused(() => std.unreachable());
  });

  it("checks what is thrown", async () => {
    const boom = () => {
      throw new TypeError("boom");
    };
    std.assertStrictEquals(std.assertThrows(boom, TypeError, "oom").message, "boom");
    refused(() => std.assertThrows(boom, RangeError));
    refused(() => std.assertThrows(boom, TypeError, "bang"));
    refused(() => std.assertThrows(() => {}));

    await std.assertRejects(() => Promise.reject(new TypeError("boom")), TypeError, "boom");
    const accepted = std.assertRejects(() => Promise.resolve());
    await std.assertRejects(() => accepted, std.AssertionError);
    const wrong = std.assertRejects(() => Promise.reject(new Error("boom")), TypeError);
    await std.assertRejects(() => wrong, std.AssertionError);
  });
});
