import type { Check } from "./compare.ts";
import type { Execute } from "./execute.ts";
import type { Golden } from "./golden.ts";
export function learning(_golden: Golden, _execute: Execute): Promise<Check[]> {
  return Promise.reject(new Error("to be done"));
}
