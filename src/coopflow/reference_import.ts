/** Models from the reference program's checkpoints. */
import { CheckpointError } from "../errors.ts";
import { toFloat32 } from "../io/tensor.ts";
import { momentName } from "../optim/adam.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { type CoopFlowConfig, type CoopFlowConfigInput, parseConfig } from "./config.ts";
import { EBM_PREFIX, FLOW_PREFIX } from "./programs/program.ts";
import { openReferenceFile, type ReferenceFile, type StoredTensor } from "./reference_file.ts";
import { referenceOrder } from "./reference_order.ts";
import { configOfShapes } from "./reference_shapes.ts";
import { modelStates, type StateSpec } from "./states.ts";

/** How to import. */
export interface ImportOptions {
  /**
   * What the file is expected to hold: a configuration, or a function that makes it of the one that the file's names and shapes tell. Default: that
   * one, all else being the reference's.
   */
  readonly config?:
    | CoopFlowConfigInput
    | ((found: CoopFlowConfigInput) => CoopFlowConfigInput | Promise<CoopFlowConfigInput>);
}

/** An imported model. */
export interface Imported {
  /** To be given to {@linkcode CoopFlow.fromCheckpoint}. */
  readonly checkpoint: Checkpoint;
  /** What the file did not hold. */
  readonly notices: readonly string[];
}

/** Names of each kind that an error lists. */
const LISTED = 3;

/**
 * Reads a checkpoint of the reference: `.pth.tar` (or whatever its name is) of `torch.save` in any of its formats, or `.safetensors` with the same
 * tensors under `flow.…` and `ebm.…`. Nothing in it is run. Numbers of any precision become float32.
 *
 * @throws {CheckpointError} if the file is damaged or hostile, or its tensors are not those of the configuration: each is listed by name
 * @throws {ConfigError} if the configuration can't be used
 */
export async function importReference(path: string, options: ImportOptions = {}): Promise<Imported> {
  await using file = await openReferenceFile(path);
  const found = storedConfig(path, file) ?? configOfShapes(file);
  const { config: given = found } = options;
  const config = parseConfig(typeof given === "function" ? await given(found) : given);
  const stored = storedStates(file, config);
  const states = modelStates(config).all;
  checkNames(path, file, states, stored);
  const values = new Map<string, Float32Array>();
  for (const spec of states) {
    const tensor = stored.get(spec.averageOf ?? spec.name);
    values.set(spec.name, tensor ? toFloat32(await tensor.read()) : spec.init(config.seed));
  }
  const steps = { flow: file.flowOptimizer?.step ?? 0, ebm: file.ebmOptimizer?.step ?? 0 };
  const counters = {
    // Each iteration updates the energy network; a flow trained alone counts its own.
    iteration: file.ebm ? steps.ebm : steps.flow,
    flowUpdates: steps.flow,
    ebmUpdates: steps.ebm,
    initialised: [...values].every(([name, value]) => !name.endsWith(".is_initialized") || value[0] === 1),
  };
  return { checkpoint: { config, counters, values }, notices: absent(file) };
}

function storedConfig(path: string, { config }: ReferenceFile): CoopFlowConfigInput | undefined {
  if (config === undefined) return undefined;
  try {
    return parseConfig(JSON.parse(config));
  } catch (error) {
    const reason = error instanceof Error ? error.message : error;
    throw new CheckpointError(`${path}: the configuration in it can't be used: ${reason}`, { cause: error });
  }
}

/** The file's tensors under this library's names. */
function storedStates(file: ReferenceFile, config: CoopFlowConfig): Map<string, StoredTensor> {
  const stored = new Map<string, StoredTensor>();
  for (const [prefix, network] of [[FLOW_PREFIX, file.flow], [EBM_PREFIX, file.ebm]] as const) {
    for (const [name, tensor] of network ?? []) stored.set(`${prefix}${name}`, tensor);
  }
  const order = referenceOrder(config);
  for (const [names, optimizer] of [[order.flow, file.flowOptimizer], [order.ebm, file.ebmOptimizer]] as const) {
    for (const [index, { m, v }] of optimizer?.moments ?? []) {
      const name = names[index] ?? `parameter ${index}`;
      stored.set(momentName("m", name), m);
      stored.set(momentName("v", name), v);
    }
  }
  return stored;
}

/** Compares names and shapes; parts that the file lacks as a whole are not missed. */
function checkNames(
  path: string,
  file: ReferenceFile,
  states: readonly StateSpec[],
  stored: ReadonlyMap<string, StoredTensor>,
): void {
  const expected = new Map(states.filter((s) => s.averageOf === undefined).map((s) => [s.name, s.shape]));
  const isNeeded = (name: string): boolean =>
    (name.startsWith(FLOW_PREFIX) && file.flow !== undefined) ||
    (name.startsWith(EBM_PREFIX) && file.ebm !== undefined);
  const missing = [...expected.keys()].filter((name) => isNeeded(name) && !stored.has(name));
  const unexpected = [...stored.keys()].filter((name) => !expected.has(name));
  const reshaped = [...expected].flatMap(([name, shape]) => {
    const found = stored.get(name)?.shape;
    if (found === undefined || found.join() === shape.join()) return [];
    return [`${name} (expected [${shape.join(", ")}], found [${found.join(", ")}])`];
  });
  // Where networks differ, the optimizers' states do too, and say nothing more.
  const ofNetworks = reshaped.filter((name) => name.startsWith(FLOW_PREFIX) || name.startsWith(EBM_PREFIX));
  const problems = [
    listed("missing", missing),
    listed("unexpected", unexpected),
    listed("of another shape", ofNetworks.length > 0 ? ofNetworks : reshaped),
  ].filter((line) => line !== "");
  if (problems.length === 0) return;
  throw new CheckpointError(
    `${path}: expected the ${expected.size} tensors of the configuration; ${
      problems.join("; ")
    }; choose another --preset or --set`,
  );
}

function listed(what: string, names: readonly string[]): string {
  if (names.length === 0) return "";
  const more = names.length > LISTED ? `, … (${names.length})` : "";
  return `${what}: ${names.slice(0, LISTED).join(", ")}${more}`;
}

function absent(file: ReferenceFile): string[] {
  const notices: string[] = [];
  if (!file.flow) notices.push("it holds no flow: a fresh one is taken, which will be initialised from data");
  if (!file.ebm) notices.push("it holds no energy network: a fresh one is taken");
  if (!file.flowOptimizer || !file.ebmOptimizer) {
    notices.push("it does not hold both optimizers: what is missing starts afresh, warm-up included");
  }
  return notices;
}
