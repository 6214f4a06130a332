/** Turns what the schema finds wrong with a configuration into one line: field, expected, found, and the nearest right name. */
import { z } from "zod";
import { ConfigError } from "../errors.ts";
import { nearestName } from "./nearest.ts";

type Issue = z.core.$ZodIssue;

const TYPE_NAMES: Readonly<Record<string, string>> = {
  int: "a whole number",
  number: "a number",
  boolean: "true or false",
  string: "a text",
  object: "an object",
  array: "a list",
  tuple: "a list",
};

/** The error for the first of `issues`; the others are counted. */
export function configErrorOf(issues: readonly Issue[], input: unknown, schema: z.ZodType): ConfigError {
  const [issue] = issues;
  if (issue === undefined) return new ConfigError("", "expected a configuration");
  const path = issue.path.map(String);
  const more = issues.length > 1 ? ` (and ${issues.length - 1} more)` : "";
  if (issue.code === "unrecognized_keys") {
    const [key = ""] = issue.keys;
    const nearest = nearestName(key, fieldsAt(schema, path));
    const hint = nearest === undefined ? "" : `; the nearest is ${[...path, nearest].join(".")}`;
    return new ConfigError([...path, key].join("."), `expected a known field, found another${hint}${more}`);
  }
  const found = shown(valueAt(input, path));
  return new ConfigError(path.join("."), `expected ${expectation(issue)}, found ${found}${more}`);
}

function expectation(issue: Issue): string {
  switch (issue.code) {
    case "invalid_type":
      return TYPE_NAMES[issue.expected] ?? issue.expected;
    case "too_small":
      if (issue.origin === "array" || issue.origin === "tuple") return `a list of ${issue.minimum} or more entries`;
      return `a number ${issue.inclusive === false ? "above" : "of at least"} ${issue.minimum}`;
    case "too_big":
      if (issue.origin === "array" || issue.origin === "tuple") return `a list of at most ${issue.maximum} entries`;
      return `a number ${issue.inclusive === false ? "below" : "of at most"} ${issue.maximum}`;
    case "not_multiple_of":
      return `a multiple of ${issue.divisor}`;
    case "invalid_value":
      return issue.values.map((value) => typeof value === "string" ? value : String(value)).join(" or ");
    case "invalid_union":
      return [...new Set(issue.errors.flatMap(([first]) => first === undefined ? [] : [expectation(first)]))]
        .join(" or ");
    default:
      return issue.message;
  }
}

/** Names of the fields of the object at `path` in a schema. */
function fieldsAt(schema: z.core.$ZodType, path: readonly string[]): string[] {
  let at = unwrapped(schema);
  for (const name of path) {
    if (!(at instanceof z.ZodObject)) return [];
    const next = at.shape[name];
    if (next === undefined) return [];
    at = unwrapped(next);
  }
  return at instanceof z.ZodObject ? Object.keys(at.shape) : [];
}

function unwrapped(schema: z.core.$ZodType): z.core.$ZodType {
  while (schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault) schema = schema.unwrap();
  return schema;
}

function valueAt(input: unknown, path: readonly string[]): unknown {
  let value = input;
  for (const name of path) {
    if (typeof value !== "object" || value === null) return undefined;
    value = (value as Record<string, unknown>)[name];
  }
  return value;
}

function shown(value: unknown): string {
  if (value === undefined) return "nothing";
  if (typeof value === "number") return String(value);
  const text = JSON.stringify(value) ?? typeof value;
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}
