// Stands behind the name "@std/assert" (deno.json, "imports"): JSR, where the original lives, can't be reached from the
// build machines. The part of its API that the tests use, with the same meaning, over node:assert's deep comparison.

import { AssertionError as NodeAssertionError } from "node:assert/strict";
import { inspect, isDeepStrictEqual } from "node:util";

/** What every failed assertion throws. */
export class AssertionError extends Error {
  override readonly name = "AssertionError";
}

/** A class with any constructor arguments: all lists of arguments are assignable from `never[]`. */
export type ErrorClass<E extends Error> = abstract new (...args: never[]) => E;

function fails(message: string, msg: string | undefined): never {
  throw new AssertionError(msg === undefined ? message : `${message}: ${msg}`);
}

function show(value: unknown): string {
  return inspect(value, { depth: 4, breakLength: 100, maxArrayLength: 20 });
}

/** Whether two values are equal in structure: NaN equals NaN, 0 and -0 differ. */
export function equal(a: unknown, b: unknown): boolean {
  return isDeepStrictEqual(a, b);
}

export function assert(condition: unknown, msg?: string): asserts condition {
  if (!condition) fails(`Expected a truthy value, found ${show(condition)}`, msg);
}

export function assertFalse(condition: unknown, msg?: string): void {
  if (condition) fails(`Expected a falsy value, found ${show(condition)}`, msg);
}

export function assertEquals<T>(actual: T, expected: T, msg?: string): void {
  if (equal(actual, expected)) return;
  const { message } = new NodeAssertionError({ actual, expected, operator: "deepStrictEqual" });
  fails(message, msg);
}

export function assertNotEquals<T>(actual: T, expected: T, msg?: string): void {
  if (equal(actual, expected)) fails(`Expected values that differ, found both to be ${show(actual)}`, msg);
}

export function assertStrictEquals<T>(actual: unknown, expected: T, msg?: string): asserts actual is T {
  if (!Object.is(actual, expected)) fails(`Expected the same value ${show(expected)}, found ${show(actual)}`, msg);
}

export function assertNotStrictEquals<T>(actual: T, expected: T, msg?: string): void {
  if (Object.is(actual, expected)) fails(`Expected another value than ${show(expected)}`, msg);
}

/** |actual - expected| must be at most `tolerance`, by default 1e-7 relative to `expected`. */
export function assertAlmostEquals(actual: number, expected: number, tolerance?: number, msg?: string): void {
  if (Object.is(actual, expected)) return;
  const allowed = tolerance ?? (Number.isFinite(expected) ? Math.abs(expected * 1e-7) : 0);
  const delta = Math.abs(actual - expected);
  if (!(delta <= allowed)) fails(`Expected ${expected} within ${allowed}, found ${actual} (off by ${delta})`, msg);
}

export function assertExists<T>(actual: T, msg?: string): asserts actual is NonNullable<T> {
  if (actual === undefined || actual === null) fails(`Expected a value, found ${actual}`, msg);
}

export function assertGreater<T>(actual: T, low: T, msg?: string): void {
  if (!(actual > low)) fails(`Expected more than ${show(low)}, found ${show(actual)}`, msg);
}

export function assertGreaterOrEqual<T>(actual: T, low: T, msg?: string): void {
  if (!(actual >= low)) fails(`Expected at least ${show(low)}, found ${show(actual)}`, msg);
}

export function assertLess<T>(actual: T, high: T, msg?: string): void {
  if (!(actual < high)) fails(`Expected less than ${show(high)}, found ${show(actual)}`, msg);
}

export function assertLessOrEqual<T>(actual: T, high: T, msg?: string): void {
  if (!(actual <= high)) fails(`Expected at most ${show(high)}, found ${show(actual)}`, msg);
}

export function assertMatch(actual: string, expected: RegExp, msg?: string): void {
  if (actual.search(expected) < 0) fails(`Expected a match of ${expected}, found ${show(actual)}`, msg);
}

export function assertNotMatch(actual: string, expected: RegExp, msg?: string): void {
  if (actual.search(expected) >= 0) fails(`Expected no match of ${expected}, found ${show(actual)}`, msg);
}

export function assertStringIncludes(actual: string, expected: string, msg?: string): void {
  if (!actual.includes(expected)) fails(`Expected text with ${show(expected)}, found ${show(actual)}`, msg);
}

export function assertArrayIncludes<T>(actual: ArrayLike<T>, expected: ArrayLike<T>, msg?: string): void {
  const items = Array.from(actual);
  const missing = Array.from(expected).filter((e) => !items.some((a) => equal(a, e)));
  if (missing.length > 0) fails(`Expected also ${show(missing)}, found ${show(items)}`, msg);
}

/** Every property that `expected` has must be in `actual` and equal, at any depth. */
export function assertObjectMatch(actual: object, expected: object, msg?: string): void {
  if (!matches(actual, expected)) fails(`Expected an object with ${show(expected)}, found ${show(actual)}`, msg);
}

function matches(actual: unknown, expected: unknown): boolean {
  const isPlain = typeof expected === "object" && expected !== null &&
    (Array.isArray(expected) || Object.getPrototypeOf(expected) === Object.prototype);
  if (!isPlain) return equal(actual, expected);
  if (typeof actual !== "object" || actual === null) return false;
  return Object.entries(expected).every(([key, value]) => key in actual && matches(Reflect.get(actual, key), value));
}

export function assertInstanceOf<T>(
  actual: unknown,
  expected: abstract new (...args: never[]) => T,
  msg?: string,
): asserts actual is T {
  if (!(actual instanceof expected)) fails(`Expected an instance of ${expected.name}, found ${show(actual)}`, msg);
}

export function assertIsError<E extends Error = Error>(
  error: unknown,
  expected?: ErrorClass<E>,
  includes?: string | RegExp,
  msg?: string,
): asserts error is E {
  if (!(error instanceof Error)) fails(`Expected an Error, found ${show(error)}`, msg);
  if (expected !== undefined && !(error instanceof expected)) {
    fails(`Expected an error of class ${expected.name}, found ${error.name}: ${error.message}`, msg);
  }
  if (includes === undefined) return;
  const found = typeof includes === "string" ? error.message.includes(includes) : includes.test(error.message);
  if (!found) fails(`Expected an error message with ${show(includes)}, found ${show(error.message)}`, msg);
}

/** `fn` must throw; returns what it threw. */
export function assertThrows<E extends Error = Error>(
  fn: () => unknown,
  expected?: ErrorClass<E>,
  includes?: string,
  msg?: string,
): E {
  try {
    fn();
  } catch (error) {
    assertIsError(error, expected, includes, msg);
    return error;
  }
  return fails("Expected the function to throw, but it returned", msg);
}

/** The promise that `fn` returns must be rejected; resolves to what it was rejected with. */
export async function assertRejects<E extends Error = Error>(
  fn: () => PromiseLike<unknown>,
  expected?: ErrorClass<E>,
  includes?: string,
  msg?: string,
): Promise<E> {
  let promise: PromiseLike<unknown>;
  try {
    promise = fn();
  } catch (error) {
    return fails(`Expected a rejected promise, but the function threw ${show(error)}`, msg);
  }
  try {
    await promise;
  } catch (error) {
    assertIsError(error, expected, includes, msg);
    return error;
  }
  return fails("Expected the promise to be rejected, but it was fulfilled", msg);
}

export function fail(msg?: string): never {
  return fails("Failed", msg);
}

export function unreachable(msg?: string): never {
  return fails("Reached what must be unreachable", msg);
}
