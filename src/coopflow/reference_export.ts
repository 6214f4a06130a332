/** Checkpoints for the reference program, and for PyTorch in general. */
import { UsageError } from "../errors.ts";
import { type TensorToWrite, writeSafetensors } from "../io/safetensors.ts";
import { tensorOf } from "../io/tensor.ts";
import { TorchTuple, type TorchValue, writeTorch } from "../io/torch_write.ts";
import { averageName, momentName } from "../optim/adam.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { EBM_PREFIX, FLOW_PREFIX } from "./programs/program.ts";
import { CONFIG_KEY } from "./reference_file.ts";
import { referenceOrder } from "./reference_order.ts";
import { learningRate, type OptimizerSettings } from "./schedule.ts";
import { modelStates, type StateSpec } from "./states.ts";

/** How to export. */
export interface ExportOptions {
  /** The live parameters even where there are averaged ones. Optimizers go with live parameters alone. */
  readonly liveParameters?: boolean;
  /** `.pth.tar` only: the optimizers' states too, so that the reference can go on. */
  readonly optimizers?: boolean;
  /** `.pth.tar` only: names begin with `module.`, as the reference has them on GPUs. */
  readonly dataParallel?: boolean;
  /** `.pth.tar` only: the epoch that the reference counts on from. Default 0. */
  readonly epoch?: number;
}

type Learnt = Pick<Checkpoint, "config" | "counters" | "values">;

/**
 * Writes a model's networks, under the reference's names and layouts: `FILE.pth.tar` (also `.pth`, `.pt`) has `ebm_net`, `flow_net` and `epoch` as the
 * reference's own, and opens with `torch.load(weights_only=True)`; `FILE.safetensors` has `ebm.…` and `flow.…`.
 *
 * @throws {UsageError} if the file's name is none of these, or the options don't fit it
 * @throws {CoopFlowError} if the system refuses
 */
export async function exportReference(path: string, checkpoint: Learnt, options: ExportOptions = {}): Promise<void> {
  const networks = networksOf(checkpoint, options.liveParameters ?? options.optimizers ?? false);
  if (path.endsWith(".safetensors")) {
    const given = (["optimizers", "dataParallel", "epoch"] as const).find((key) => options[key] !== undefined);
    if (given !== undefined) {
      throw new UsageError(`${given}: expected a file FILE.pth.tar with this option, found ${path}`);
    }
    const tensors = new Map([...networks.ebm, ...networks.flow].map(([name, tensor]) => [name, tensor]));
    await writeSafetensors(path, tensors, new Map([[CONFIG_KEY, JSON.stringify(checkpoint.config)]]));
  } else if (/\.(pth\.tar|pth|pt)$/.test(path)) {
    await writeTorch(path, torchValue(checkpoint, networks, options));
  } else {
    throw new UsageError(`expected FILE.safetensors or FILE.pth.tar to export to, found ${path}`);
  }
}

type Tensors = ReadonlyMap<string, TensorToWrite>;

interface Networks {
  readonly ebm: Tensors;
  readonly flow: Tensors;
}

/** Both networks' tensors under this library's names. */
function networksOf({ config, values }: Learnt, live: boolean): Networks {
  const states = modelStates(config).all;
  const names = new Set(states.map(({ name }) => name));
  const part = (prefix: string): Tensors =>
    new Map(
      states.filter(({ name }) => name.startsWith(prefix)).map((spec) => {
        const average = averageName(spec.name);
        return [spec.name, tensor(spec, values.get(!live && names.has(average) ? average : spec.name))];
      }),
    );
  return { ebm: part(EBM_PREFIX), flow: part(FLOW_PREFIX) };
}

function tensor({ name, shape }: Pick<StateSpec, "name" | "shape">, value: Float32Array | undefined): TensorToWrite {
  if (value === undefined) throw new UsageError(`expected a checkpoint with ${name}, found it missing`);
  return tensorOf(shape, value);
}

function torchValue(checkpoint: Learnt, { ebm, flow }: Networks, options: ExportOptions): TorchValue {
  const module = options.dataParallel ? "module." : "";
  const named = (tensors: Tensors, prefix: string): TorchValue =>
    new Map([...tensors].map(([name, value]) => [`${module}${name.slice(prefix.length)}`, value]));
  return new Map<string, TorchValue>([
    ["ebm_net", named(ebm, EBM_PREFIX)],
    ["flow_net", named(flow, FLOW_PREFIX)],
    ["epoch", options.epoch ?? 0],
    ...(options.optimizers ? optimizers(checkpoint) : []),
    [CONFIG_KEY, JSON.stringify(checkpoint.config)],
  ]);
}

/** Both optimizers as `torch.optim.Adam.state_dict()` has them. */
function optimizers({ config, counters, values }: Learnt): [string, TorchValue][] {
  const order = referenceOrder(config);
  const { flow, ebm, iterations } = config.training;
  const shapes = new Map(modelStates(config).all.map(({ name, shape }) => [name, shape]));
  const moments = (names: readonly string[], step: number): TorchValue =>
    new Map(names.map((name, i) => {
      const moment = (which: "m" | "v"): TensorToWrite => {
        const full = momentName(which, name);
        return tensor({ name: full, shape: shapes.get(full) ?? [] }, values.get(full));
      };
      return [i, new Map<string, TorchValue>([["step", step], ["exp_avg", moment("m")], ["exp_avg_sq", moment("v")]])];
    }));
  const group = (optimizer: OptimizerSettings, step: number, decay: number, first: number, end: number): TorchValue =>
    new Map<string, TorchValue>([
      ["lr", learningRate(optimizer, step, iterations)],
      ["betas", new TorchTuple(...optimizer.betas)],
      ["eps", optimizer.eps],
      ["weight_decay", decay],
      ["amsgrad", false],
      ["initial_lr", optimizer.lr],
      ["params", Array.from({ length: end - first }, (_, k) => first + k)],
    ]);
  const { flowUpdates, ebmUpdates } = counters;
  const { gains } = order;
  return [
    [
      "ebm_optimizer",
      new Map([
        ["state", moments(order.ebm, ebmUpdates)],
        ["param_groups", [group(ebm, ebmUpdates, 0, 0, order.ebm.length)]],
      ]),
    ],
    [
      "flow_optimizer",
      new Map([
        ["state", moments(order.flow, flowUpdates)],
        ["param_groups", [
          group(flow, flowUpdates, flow.gainDecay, 0, gains),
          group(flow, flowUpdates, 0, gains, order.flow.length),
        ]],
      ]),
    ],
  ];
}
