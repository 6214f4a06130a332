/** `coopflow parity`. */
import { DataError, UsageError } from "../errors.ts";
import { loadGraph } from "../coopflow/program_cache.ts";
import type { Graph } from "../graph/graph.ts";
import { Device, type DeviceOptions } from "../runtime/device.ts";
import type { Execution, Tensors } from "./parity/execute.ts";
import { formatResult, listCases, runCase } from "./parity/parity.ts";

/** The options of the command. */
export interface ParityCommandOptions {
  readonly only?: readonly string[];
  readonly threads?: number;
}

/** Runs the command; returns the exit code. */
export async function parityCommand(dir: string, options: ParityCommandOptions): Promise<number> {
  const { only, threads } = options;
  const all = await listCases(dir);
  const missing = only?.find((name) => !all.some((found) => found.name === name));
  if (missing !== undefined) {
    throw new UsageError(`--only: expected cases of ${dir} (${all.map(({ name }) => name).join(", ")}), found ${missing}`);
  }
  const cases = only === undefined ? all : all.filter(({ name }) => only.includes(name));
  if (cases.length === 0) throw new DataError(`${dir}: expected cases to compare with, found none`);
  const count = { passed: 0, failed: 0, skipped: 0 };
  for (const found of cases) {
    const result = await runCase(found, (graph, feeds, states) => execute(graph, feeds, states, threads));
    count[result.status]++;
    console.log(formatResult(result));
  }
  console.log(`${count.passed} passed, ${count.failed} failed, ${count.skipped} skipped`);
  return count.failed > 0 ? 1 : 0;
}

/** Runs a graph once on a device of its own. */
async function execute(graph: Graph, feeds: Tensors, states: Tensors, threads: number | undefined): Promise<Execution> {
  const options: DeviceOptions = threads === undefined ? {} : { threads };
  using device = Device.open(options);
  const shapes = new Map<string, readonly number[]>();
  for (const node of graph.nodes) if (node.op === "state") shapes.set(node.attrs.name, node.attrs.shape);
  for (const [name, shape] of shapes) {
    const values = states[name];
    if (values === undefined) throw new DataError(`expected a value for state ${name}, found none`);
    device.setState(name, Float32Array.from(values), shape);
  }
  using program = await loadGraph(device, graph, { cache: null, createMissing: true });
  const given = program.info.feeds.map(({ name, dtype }) => {
    const values = feeds[name];
    if (values === undefined) throw new DataError(`expected a value for feed ${name}, found none`);
    return [name, dtype === "u32" ? Uint32Array.from(values) : Float32Array.from(values)] as const;
  });
  const fetches = await program.run(Object.fromEntries(given));
  const assigns: Record<string, Float32Array> = {};
  for (const result of graph.results) {
    if (result.kind !== "assign") continue;
    const size = result.value.shape.reduce((a, b) => a * b, 1);
    assigns[result.name] = device.getState(result.name, size);
  }
  return { fetches, assigns };
}
