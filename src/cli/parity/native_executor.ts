/** Runs the graphs of the cases on a device. */
import { compileGraph, type CompileOptions } from "../../compile/compile.ts";
import type { Graph } from "../../graph/graph.ts";
import { numel, type Shape } from "../../graph/shape.ts";
import { Device, type DeviceOptions } from "../../runtime/device.ts";
import type { ComputedIn } from "../../runtime/precision.ts";
import type { Program } from "../../runtime/program.ts";
import type { Execution, Tensors } from "./execute.ts";

interface Loaded {
  readonly graph: Graph;
  readonly program: Program;
  readonly states: ReadonlyMap<string, Shape>;
}

/** Copies of a tensor as the native side takes them. */
function float32(data: ArrayLike<number>): Float32Array<ArrayBuffer> {
  return new Float32Array(data);
}

/** A device and the program it ran last. Cases run one after the other, so one program is enough, and its states do not pile up. */
export class NativeExecutor implements Disposable {
  readonly #device: Device;
  readonly #options: CompileOptions;
  #loaded: Loaded | undefined;

  /** Throws NativeError when there is no native library. */
  constructor(device: DeviceOptions = {}, options: CompileOptions = {}) {
    this.#device = Device.open(device);
    this.#options = options;
  }

  /** What its device computes in. */
  get precision(): ComputedIn {
    return this.#device.info.precision;
  }

  /** Compiles `graph` (unless it ran last), runs it once, and reads what it delivers. */
  readonly execute = async (graph: Graph, feeds: Tensors, states: Tensors): Promise<Execution> => {
    const { program, states: shapes } = this.#load(graph, states);
    const given = program.info.feeds.map(({ name, dtype }) => {
      const data = feeds[name];
      if (!data) throw new Error(`expected a feed "${name}", found ${Object.keys(feeds).join(", ")}`);
      return [name, dtype === "u32" ? new Uint32Array(data) : float32(data)] as const;
    });
    const fetches = await program.run(Object.fromEntries(given));
    const assigned = graph.results.flatMap((r) => (r.kind === "assign" ? [r.name] : []));
    const assigns = Object.fromEntries(
      assigned.map((name) => [name, this.#device.getState(name, numel(shapes.get(name)!))]),
    );
    return { fetches, assigns };
  };

  #load(graph: Graph, values: Tensors): Loaded {
    if (this.#loaded?.graph !== graph) this.#unload();
    const shapes = this.#loaded?.states ??
      new Map(graph.nodes.flatMap((n) => (n.op === "state" ? [[n.attrs.name, n.attrs.shape]] : [])));
    for (const [name, shape] of shapes) {
      const data = values[name];
      if (!data) throw new Error(`expected a state "${name}", found ${Object.keys(values).length} others`);
      this.#device.setState(name, float32(data), shape);
    }
    return this.#loaded ??= {
      graph,
      program: this.#device.load(compileGraph(graph, { ...this.#device.compileOptions, ...this.#options }).bytes),
      states: shapes,
    };
  }

  #unload(): void {
    this.#loaded?.program.close();
    for (const name of this.#loaded?.states.keys() ?? []) this.#device.removeState(name);
    this.#loaded = undefined;
  }

  close(): void {
    this.#unload();
    this.#device.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
