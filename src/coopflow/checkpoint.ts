/**
 * Checkpoints: one safetensors file with everything that a model is. Tensors are the states under their own names
 * (`flow.…`, `ebm.…`, `ema.…`, `adam.m.…`, `adam.v.…`); metadata says what they belong to. A checkpoint holds no clock and no path, so that
 * equal models give equal bytes.
 */
import { createHash } from "node:crypto";
import { CheckpointError, ConfigError } from "../errors.ts";
import { SafetensorsFile, toFloat32, writeSafetensors } from "../io/safetensors.ts";
import { type CoopFlowConfig, parseConfig } from "./config.ts";
import type { Counters } from "./schedule.ts";
import { elements, modelStates, type StateSpec } from "./states.ts";
import { CHECKPOINT_FORMAT, LIBRARY_VERSION } from "./version.ts";

/** What a checkpoint says of itself. */
export interface CheckpointHeader {
  readonly config: CoopFlowConfig;
  readonly counters: Counters;
}

/** A whole checkpoint. */
export interface Checkpoint extends CheckpointHeader {
  readonly values: ReadonlyMap<string, Float32Array>;
  /** Checksum of its tensors, if it was read from a file. */
  readonly sha256?: string;
}

/**
 * Writes a checkpoint atomically.
 *
 * @param valueOf fetches a state, which must hold until the next call; called twice for each, so that never more than one is held
 * @throws {CoopFlowError} naming path and reason if the system refuses; what was there stays
 */
export async function writeCheckpoint(
  path: string,
  header: CheckpointHeader,
  states: readonly StateSpec[],
  valueOf: (spec: StateSpec) => Float32Array,
): Promise<void> {
  const bytesOf = (spec: StateSpec): Uint8Array => {
    const data = valueOf(spec);
    return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  };
  const digest = new Digest();
  for (const spec of byName(states)) digest.add(spec.name, bytesOf(spec));
  const metadata = new Map([
    ["format", CHECKPOINT_FORMAT],
    ["library", LIBRARY_VERSION],
    ["config", JSON.stringify(header.config)],
    ["counters", JSON.stringify(header.counters)],
    ["sha256", digest.text()],
  ]);
  const tensors = new Map(states.map((spec) => [spec.name, {
    dtype: "F32" as const,
    shape: spec.shape,
    bytes: () => bytesOf(spec),
  }]));
  await writeSafetensors(path, tensors, metadata);
}

/**
 * Reads what a checkpoint says of itself.
 *
 * @throws {CheckpointError} if it is no checkpoint
 */
export async function readCheckpointHeader(path: string): Promise<CheckpointHeader> {
  await using file = await SafetensorsFile.open(path, { fail: CheckpointError });
  return headerOf(path, file.metadata);
}

/**
 * Reads and checks a whole checkpoint: format, configuration, every tensor's name and shape, and the checksum.
 *
 * @throws {CheckpointError} saying what was expected and found
 */
export async function readCheckpoint(path: string): Promise<Checkpoint> {
  await using file = await SafetensorsFile.open(path, { fail: CheckpointError });
  const header = headerOf(path, file.metadata);
  const states = modelStates(header.config).all;
  const expected = new Set(states.map((spec) => spec.name));
  const extra = [...file.tensors.keys()].find((name) => !expected.has(name));
  if (extra !== undefined) {
    throw new CheckpointError(`${path}: expected the ${states.length} tensors of its configuration, found ${extra}`);
  }
  const values = new Map<string, Float32Array>();
  const digest = new Digest();
  for (const { name, shape } of byName(states)) {
    const tensor = await file.read(name);
    if (tensor.dtype !== "F32" || tensor.shape.join() !== shape.join()) {
      const found = `${tensor.dtype} of shape [${tensor.shape.join(", ")}]`;
      throw new CheckpointError(`${path}: ${name}: expected F32 of shape [${shape.join(", ")}], found ${found}`);
    }
    digest.add(name, tensor.bytes);
    const value = toFloat32(tensor);
    if (value.length !== elements(shape)) {
      throw new CheckpointError(`${path}: ${name}: expected ${elements(shape)} values`);
    }
    values.set(name, value);
  }
  const sha256 = digest.text();
  if (sha256 !== file.metadata.get("sha256")) {
    throw new CheckpointError(
      `${path}: damaged: its content does not have the checksum that it was written with; use another checkpoint`,
    );
  }
  return { ...header, values, sha256 };
}

function headerOf(path: string, metadata: ReadonlyMap<string, string>): CheckpointHeader {
  const format = metadata.get("format");
  if (format !== CHECKPOINT_FORMAT) {
    const found = format === undefined ? "a file without a format" : JSON.stringify(format);
    throw new CheckpointError(`${path}: expected a checkpoint of format ${CHECKPOINT_FORMAT}, found ${found}`);
  }
  try {
    return { config: parseConfig(json(metadata, "config")), counters: countersOf(json(metadata, "counters")) };
  } catch (error) {
    if (!(error instanceof ConfigError) && !(error instanceof SyntaxError)) throw error;
    throw new CheckpointError(`${path}: its metadata can't be used: ${error.message}`, { cause: error });
  }
}

function json(metadata: ReadonlyMap<string, string>, key: string): unknown {
  return JSON.parse(metadata.get(key) ?? "null");
}

function countersOf(value: unknown): Counters {
  const fields = typeof value === "object" && value !== null ? value as Record<string, unknown> : {};
  const count = (key: string): number => {
    const found = fields[key];
    if (typeof found === "number" && Number.isSafeInteger(found) && found >= 0) return found;
    throw new ConfigError(`counters.${key}`, `expected a count, found ${JSON.stringify(found) ?? "nothing"}`);
  };
  return {
    iteration: count("iteration"),
    flowUpdates: count("flowUpdates"),
    ebmUpdates: count("ebmUpdates"),
    initialised: fields["initialised"] === true,
  };
}

function byName(states: readonly StateSpec[]): StateSpec[] {
  return states.toSorted((a, b) => a.name < b.name ? -1 : 1);
}

/** SHA-256 over names and bytes. */
class Digest {
  readonly #hash = createHash("sha256");

  add(name: string, bytes: Uint8Array): void {
    this.#hash.update(`${name}\n${bytes.byteLength}\n`);
    this.#hash.update(bytes);
  }

  /** Lower-case hexadecimal; may be asked for once. */
  text(): string {
    return this.#hash.digest("hex");
  }
}
