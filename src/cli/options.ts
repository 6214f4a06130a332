/** Parsers of option values, and what an option without a value means. */
import { UsageError } from "../errors.ts";
import { type DeviceInfo, type DeviceName, type DeviceOptions, isDeviceName } from "../runtime/device.ts";

/** Iterations that `train --profile` measures. */
export const PROFILED_ITERATIONS = 3;

/** A parser for whole numbers from `least` to `most`. */
export function wholeNumber(least: number, most: number = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const value = /^[+-]?\d+$/.test(text.trim()) ? Number(text) : NaN;
    if (Number.isSafeInteger(value) && value >= least && value <= most) return value;
    const range = most === Number.MAX_SAFE_INTEGER ? `of at least ${least}` : `from ${least} to ${most}`;
    throw new InvalidValue(`expected a whole number ${range}, found ${JSON.stringify(text)}`);
  };
}

/** A parser for numbers above 0. */
export function positiveNumber(text: string): number {
  const value = text.trim() === "" ? NaN : Number(text);
  if (value > 0 && Number.isFinite(value)) return value;
  throw new InvalidValue(`expected a number above 0, found ${JSON.stringify(text)}`);
}

/** A parser for one of a few names. */
export function oneOf(...names: readonly string[]): (text: string) => string {
  return (text) => {
    if (names.includes(text)) return text;
    const last = names.at(-1);
    throw new InvalidValue(`expected ${names.slice(0, -1).join(", ")} or ${last}, found ${JSON.stringify(text)}`);
  };
}

/** A parser for the name of a device. */
export function deviceName(text: string): DeviceName {
  if (isDeviceName(text)) return text;
  throw new InvalidValue(`expected auto, cpu, cuda or cuda:NUMBER, found ${JSON.stringify(text)}`);
}

/** The options that every command with a device has. */
export type DeviceFlags = Omit<DeviceOptions, "isa">;

/** Which precision a device chose by itself and why, in a line; `undefined`: it was told to. */
export function precisionLine({ precision, precisionReason }: DeviceInfo): string | undefined {
  return precisionReason === undefined ? undefined : `precision: ${precision} (auto: ${precisionReason})`;
}

/** A parser for the size of images: `32`, or `48x64` (height×width). */
export function imageSize(text: string): { height: number; width: number } {
  const [, height, width] = /^([1-9]\d{0,4})(?:[x×]([1-9]\d{0,4}))?$/.exec(text.trim()) ?? [];
  if (height !== undefined) return { height: Number(height), width: Number(width ?? height) };
  throw new InvalidValue(`expected a size such as 32 or 48x64 (height×width), found ${JSON.stringify(text)}`);
}

/** Collects the values of an option that may be repeated. */
export function listOf(text: string, before: readonly string[] = []): string[] {
  return [...before, text];
}

/** A parser for some of a few names, with commas between them. */
export function namesOf<T extends string>(...names: readonly T[]): (text: string) => T[] {
  return (text) => {
    const given = text.split(",").map((name) => name.trim());
    const wrong = given.find((name) => !names.some((known) => known === name));
    if (wrong !== undefined) {
      throw new InvalidValue(`expected some of ${names.join(", ")}, with commas, found ${JSON.stringify(wrong)}`);
    }
    return names.filter((name) => given.includes(name));
  };
}

/** A value that an option can't have. Commander puts the option's name in front when it sees this code. */
class InvalidValue extends UsageError {
  readonly code = "commander.invalidArgument";
}
