/** Where a configuration comes from: preset, file, `--set` and the options that have a name of their own. */
import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import { DataError, UsageError } from "../errors.ts";
import { type CoopFlowConfig, type CoopFlowConfigInput, parseConfig } from "../coopflow/config.ts";
import type { PresetName } from "../coopflow/preset_names.ts";
import { presets } from "../coopflow/presets.ts";
import { parseJson, withoutSchema } from "../coopflow/run_directory.ts";
import { systemReason } from "../io/system_error.ts";

/** The options that say what to train. */
export interface ConfigOptions {
  readonly preset?: PresetName;
  readonly config?: string;
  readonly set: readonly string[];
  readonly phase?: CoopFlowConfig["training"]["phase"];
  readonly iterations?: number;
  readonly batch?: number;
  readonly seed?: number;
  readonly flip?: boolean;
  readonly data?: string;
}

/** A configuration and what to call runs of it. */
export interface NamedConfig {
  readonly config: CoopFlowConfig;
  /** Fields of `data` that the file or an option states; what data are used settles the others. */
  readonly stated: ReadonlySet<string>;
  readonly name: string;
}

const ANY_SIZE = { height: 64, width: 64 } as const;

type Tree = { [key: string]: unknown };

/**
 * The configuration that the options describe, later ones over earlier ones: preset (or file), file, `--set`, options.
 *
 * @param base what there is without preset and file; default: digits
 * @throws {ConfigError} naming the field
 * @throws {DataError} if the file can't be read
 */
export async function configFrom(options: ConfigOptions, base?: CoopFlowConfigInput): Promise<NamedConfig> {
  const { preset, config: file } = options;
  const presetName = preset ?? (file === undefined && base === undefined ? "digits" : undefined);
  const tree: Tree = presetName === undefined
    ? file === undefined ? structuredClone(base ?? {}) as Tree : {}
    : structuredClone(presets[presetName]) as Tree;
  // Data bring their own sizes; until they are known, any that every number of scales divides will do.
  if (options.data !== undefined && preset === undefined && file === undefined) merge(tree, { data: ANY_SIZE });
  const given: Tree = {};
  const { phase, iterations, batch, seed, flip } = options;
  const fromFile = file === undefined ? {} : await readConfigFile(file);
  for (const target of [tree, given]) {
    merge(target, structuredClone(fromFile));
    for (const text of options.set) assign(target, text);
    if (phase !== undefined) merge(target, { training: { phase } });
    if (iterations !== undefined) merge(target, { training: { iterations } });
    if (batch !== undefined) merge(target, { training: { batch } });
    if (seed !== undefined) merge(target, { seed });
    if (flip === true) merge(target, { data: { flip } });
  }
  const name = presetName ?? basename(file ?? "run").replace(/\.json$/, "");
  const stated = new Set(isTree(given["data"]) ? Object.keys(given["data"]) : []);
  return { config: parseConfig(tree), stated, name };
}

async function readConfigFile(path: string): Promise<unknown> {
  const text = await readFile(path, "utf8").catch((error) => {
    throw new DataError(`cannot read the configuration ${path}: ${systemReason(error)}`, { cause: error });
  });
  return withoutSchema(parseJson(text, path));
}

function isTree(value: unknown): value is Tree {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Objects field by field, everything else whole. */
function merge(target: Tree, source: unknown): void {
  if (!isTree(source)) {
    throw new UsageError(`expected a configuration to be an object, found ${JSON.stringify(source)?.slice(0, 60)}`);
  }
  for (const [key, value] of Object.entries(source)) {
    const known = target[key];
    if (isTree(known) && isTree(value)) merge(known, value);
    else target[key] = value;
  }
}

/** `training.flow.lr=1e-3`, `flow.scales=[[0,2]]`, `flow.scales.0.1=2`, `training.averaging.flow=off`. */
function assign(tree: Tree, text: string): void {
  const equals = text.indexOf("=");
  const path = text.slice(0, equals).trim();
  if (equals < 1 || path === "") {
    throw new UsageError(`--set: expected path=value such as training.flow.lr=1e-3, found ${JSON.stringify(text)}`);
  }
  const keys = path.split(".");
  const last = keys.pop() ?? "";
  let at: unknown = tree;
  for (const key of keys) {
    if (typeof at !== "object" || at === null) break;
    const here = at as Tree;
    // A missing or simple value becomes an object, and the schema says what is wrong with it.
    if (typeof here[key] !== "object" || here[key] === null) here[key] = {};
    at = here[key];
  }
  (at as Tree)[last] = valueOf(text.slice(equals + 1).trim());
}

function valueOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
