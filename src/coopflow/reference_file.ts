/** Files of the reference program: its `.pth.tar` checkpoints, and safetensors files with the same tensors under `flow.…` and `ebm.…`. */
import { CheckpointError } from "../errors.ts";
import { PickleDict, type PickleValue } from "../io/pickle_values.ts";
import { SafetensorsFile } from "../io/safetensors.ts";
import { type FileTensor, toFloat32 } from "../io/tensor.ts";
import { TorchFile } from "../io/torch_file.ts";
import { TorchTensor } from "../io/torch_values.ts";
import { EBM_PREFIX, FLOW_PREFIX } from "./programs/program.ts";

/** A tensor of the file; its values are read when they are asked for. */
export interface StoredTensor {
  readonly shape: readonly number[];
  read(): Promise<FileTensor>;
}

/** Tensors by the reference's names, without the `module.` of its runs on several GPUs. */
export type StoredNetwork = ReadonlyMap<string, StoredTensor>;

/** An Adam optimizer's state: moments by the number of their parameter. */
export interface StoredOptimizer {
  /** Steps made. */
  readonly step: number;
  readonly moments: ReadonlyMap<number, { readonly m: StoredTensor; readonly v: StoredTensor }>;
}

/** What a file holds; each part may be absent. Close it, or declare it `await using`. */
export interface ReferenceFile extends AsyncDisposable {
  readonly flow?: StoredNetwork;
  readonly ebm?: StoredNetwork;
  readonly flowOptimizer?: StoredOptimizer;
  readonly ebmOptimizer?: StoredOptimizer;
  /** The configuration as JSON: in files that this library wrote. */
  readonly config?: string;
}

/** Key of the configuration in files that this library writes. */
export const CONFIG_KEY = "coopflow_config";

/**
 * Opens a file. What it holds is found by its content, not by its name.
 *
 * @throws {CheckpointError} if it can't be read, or holds no network
 */
export async function openReferenceFile(path: string): Promise<ReferenceFile> {
  const file = path.endsWith(".safetensors") ? await openSafetensors(path) : await openTorch(path);
  if (file.flow || file.ebm) return file;
  await file[Symbol.asyncDispose]();
  throw new CheckpointError(`${path}: expected a checkpoint with flow_net (or net) and ebm_net, found neither`);
}

async function openSafetensors(path: string): Promise<ReferenceFile> {
  const file = await SafetensorsFile.open(path, { fail: CheckpointError });
  const part = (prefix: string): StoredNetwork | undefined => {
    const names = [...file.tensors].filter(([name]) => name.startsWith(prefix));
    if (names.length === 0) return undefined;
    return withoutModule(
      names.map(([name, { shape }]) => [name.slice(prefix.length), { shape, read: () => file.read(name) }]),
    );
  };
  const config = file.metadata.get(CONFIG_KEY);
  return {
    ...present({ flow: part(FLOW_PREFIX), ebm: part(EBM_PREFIX), config }),
    [Symbol.asyncDispose]: () => file.close(),
  };
}

async function openTorch(path: string): Promise<ReferenceFile> {
  const file = await TorchFile.open(path, CheckpointError);
  const close = (): Promise<void> => file.close();
  try {
    const { value } = file;
    if (!(value instanceof PickleDict)) {
      throw new CheckpointError(`${path}: expected a dictionary with flow_net and ebm_net, found something else`);
    }
    const part = (key: string): PickleValue | undefined => value.entries.get(key);
    const stored = (tensor: TorchTensor): StoredTensor => ({ shape: tensor.shape, read: () => file.read(tensor) });
    const config = part(CONFIG_KEY);
    return {
      ...present({
        flow: networkOf(path, "flow_net", part("flow_net"), stored) ?? networkOf(path, "net", part("net"), stored),
        ebm: networkOf(path, "ebm_net", part("ebm_net"), stored),
        flowOptimizer: await optimizerOf(path, "flow_optimizer", part("flow_optimizer"), stored),
        ebmOptimizer: await optimizerOf(path, "ebm_optimizer", part("ebm_optimizer"), stored),
        config: typeof config === "string" ? config : undefined,
      }),
      [Symbol.asyncDispose]: close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

function networkOf(
  path: string,
  key: string,
  value: PickleValue | undefined,
  stored: (tensor: TorchTensor) => StoredTensor,
): StoredNetwork | undefined {
  if (value === undefined) return undefined;
  const bad = (what: string): Error =>
    new CheckpointError(`${path}: ${key}: expected a state dictionary of named tensors, found ${what}`);
  if (!(value instanceof PickleDict)) throw bad("something else");
  return withoutModule([...value.entries].map(([name, tensor]) => {
    if (typeof name !== "string" || !(tensor instanceof TorchTensor)) throw bad(`${String(name)} without a tensor`);
    return [name, stored(tensor)];
  }));
}

async function optimizerOf(
  path: string,
  key: string,
  value: PickleValue | undefined,
  stored: (tensor: TorchTensor) => StoredTensor,
): Promise<StoredOptimizer | undefined> {
  if (value === undefined) return undefined;
  const bad = (what: string): Error =>
    new CheckpointError(`${path}: ${key}: expected the state of Adam, found ${what}`);
  const state = value instanceof PickleDict ? value.entries.get("state") : undefined;
  if (!(state instanceof PickleDict)) throw bad("no state");
  const moments = new Map<number, { m: StoredTensor; v: StoredTensor }>();
  let step = 0;
  for (const [index, entry] of state.entries) {
    const part = (name: string): PickleValue | undefined =>
      entry instanceof PickleDict ? entry.entries.get(name) : undefined;
    const [m, v, count] = ["exp_avg", "exp_avg_sq", "step"].map(part);
    if (typeof index !== "number" || !(m instanceof TorchTensor) || !(v instanceof TorchTensor)) {
      throw bad(`parameter ${String(index)} without exp_avg and exp_avg_sq`);
    }
    moments.set(index, { m: stored(m), v: stored(v) });
    const steps = count instanceof TorchTensor ? toFloat32(await stored(count).read())[0] : count;
    if (typeof steps !== "number" || !Number.isSafeInteger(steps) || steps < 0) {
      throw bad(`parameter ${index} without a step`);
    }
    step = Math.max(step, steps);
  }
  return { step, moments };
}

function withoutModule(tensors: readonly (readonly [string, StoredTensor])[]): StoredNetwork {
  return new Map(tensors.map(([name, tensor]) => [name.replace(/^module\./, ""), tensor]));
}

/** The fields that are there. */
function present<T extends Record<string, unknown>>(fields: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const found = Object.entries(fields).filter(([, value]) => value !== undefined);
  return Object.fromEntries(found) as { [K in keyof T]?: Exclude<T[K], undefined> };
}
