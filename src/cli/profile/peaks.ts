/** What the machine can do, measured through the same kernels that training uses. */
import { compileGraph } from "../../compile/compile.ts";
import { matmul, neg, state } from "../../graph/build.ts";
import { Graph, type Value } from "../../graph/graph.ts";
import { uniforms } from "../../random.ts";
import { Device, type DeviceInfo, type DeviceOptions } from "../../runtime/device.ts";

/** Highest rates that were measured. */
export interface Peaks {
  /** GFLOP/s of a float32 matrix product on one thread. */
  readonly gemmOneThread: number;
  /** The same on all threads of the context that was asked about. */
  readonly gemm: number;
  /** GB/s of a large copy on all threads, bytes read and written. */
  readonly copy: number;
  /** 0: a GPU, whose rates these are. */
  readonly threads: number;
}

/** How large the measured work is. */
interface Work {
  /** Side of the matrices: large enough that a product is bound by arithmetic, small enough for milliseconds. */
  readonly side: number;
  /** Elements of the copy: more than the caches hold. */
  readonly copied: number;
}
const ON_CPU: Work = { side: 1024, copied: 1 << 24 };
const ON_GPU: Work = { side: 8192, copied: 1 << 27 };
/** Each is done so often and the best counts, for a peak is what the machine can do when nothing disturbs it. */
const RUNS = 8;

/** Least seconds of a graph that is a single instruction, result included. */
async function leastSeconds(device: Device, graph: Graph, result: Value): Promise<number> {
  graph.fetch("result", result);
  using program = device.load(compileGraph(graph, device.compileOptions).bytes);
  await program.run({}, []); // touches the memory for the first time
  program.profile(true);
  for (let i = 0; i < RUNS; i++) await program.run({}, []);
  return Math.min(...program.profileReport().executions.map(({ seconds }) => seconds));
}

async function gemmRate(options: DeviceOptions, { side }: Work): Promise<number> {
  using device = Device.open(options);
  const shape = [1, side, side];
  for (const name of ["a", "b"]) device.setState(name, uniforms(0, name, side * side), shape);
  const g = new Graph();
  return 2 * side ** 3 / await leastSeconds(device, g, matmul(state(g, "a", shape), state(g, "b", shape))) / 1e9;
}

async function copyRate(options: DeviceOptions, { copied }: Work): Promise<number> {
  using device = Device.open(options);
  // Not zeros: untouched memory is one page that never leaves the cache.
  device.setState("from", new Float32Array(copied).fill(1), [copied]);
  const g = new Graph();
  return 2 * 4 * copied / await leastSeconds(device, g, neg(state(g, "from", [copied]))) / 1e9;
}

/** Measures for about a second, on contexts of its own opened like the one in use, whose `threads` are given (0: a GPU). */
export async function measurePeaks(options: DeviceOptions, { threads }: Pick<DeviceInfo, "threads">): Promise<Peaks> {
  const work = threads === 0 ? ON_GPU : ON_CPU;
  const gemm = await gemmRate({ ...options, threads }, work);
  const gemmOneThread = threads <= 1 ? gemm : await gemmRate({ ...options, threads: 1 }, work);
  return { gemmOneThread, gemm, copy: await copyRate({ ...options, threads }, work), threads };
}

/** The peaks in words. */
export function peaksLine({ gemmOneThread, gemm, copy, threads }: Peaks): string {
  const one = threads === 0 ? "" : " on one thread", all = threads <= 1 ? "" : `, ${gemm.toFixed(0)} on ${threads}`;
  return `matrix product ${gemmOneThread.toFixed(0)} GFLOP/s${one}${all}; copy ${copy.toFixed(1)} GB/s`;
}
