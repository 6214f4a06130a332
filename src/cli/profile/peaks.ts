/** What the machine can do, measured through the same kernels that training uses. */
import { compileGraph } from "../../compile/compile.ts";
import { matmul, neg, state } from "../../graph/build.ts";
import { Graph, type Value } from "../../graph/graph.ts";
import { uniforms } from "../../random.ts";
import { Device } from "../../runtime/device.ts";

/** Highest rates that were measured. */
export interface Peaks {
  /** GFLOP/s of a float32 matrix product on one thread. */
  readonly gemmOneThread: number;
  /** The same on all threads of the context that was asked about. */
  readonly gemm: number;
  /** GB/s of a large copy on all threads, bytes read and written. */
  readonly copy: number;
  readonly threads: number;
}

/** Side of the matrices: large enough that a product is bound by arithmetic, small enough for milliseconds. */
const SIDE = 1024;
/** Elements of the copy: two times 64 MB, more than the caches hold. */
const COPIED = 1 << 24;
/** Each is done so often and the best counts, for a peak is what the machine can do when nothing disturbs it. */
const RUNS = 8;

/** Least seconds of a graph that is a single instruction, result included. */
async function leastSeconds(device: Device, graph: Graph, result: Value): Promise<number> {
  graph.fetch("result", result);
  using program = device.load(compileGraph(graph).bytes);
  await program.run({}, []); // touches the memory for the first time
  program.profile(true);
  for (let i = 0; i < RUNS; i++) await program.run({}, []);
  return Math.min(...program.profileReport().executions.map(({ seconds }) => seconds));
}

async function gemmRate(threads: number): Promise<number> {
  using device = Device.open({ threads });
  const shape = [1, SIDE, SIDE];
  for (const name of ["a", "b"]) device.setState(name, uniforms(0, name, SIDE * SIDE), shape);
  const g = new Graph();
  return 2 * SIDE ** 3 / await leastSeconds(device, g, matmul(state(g, "a", shape), state(g, "b", shape))) / 1e9;
}

async function copyRate(threads: number): Promise<number> {
  using device = Device.open({ threads });
  // Not zeros: untouched memory is one page that never leaves the cache.
  device.setState("from", new Float32Array(COPIED).fill(1), [COPIED]);
  const g = new Graph();
  return 2 * 4 * COPIED / await leastSeconds(device, g, neg(state(g, "from", [COPIED]))) / 1e9;
}

/** Measures for about a second, on contexts of its own. */
export async function measurePeaks(threads: number): Promise<Peaks> {
  const gemmOneThread = await gemmRate(1);
  const gemm = threads === 1 ? gemmOneThread : await gemmRate(threads);
  return { gemmOneThread, gemm, copy: await copyRate(threads), threads };
}

/** The peaks in words. */
export function peaksLine({ gemmOneThread, gemm, copy, threads }: Peaks): string {
  const all = threads === 1 ? "" : `, ${gemm.toFixed(0)} on ${threads}`;
  return `matrix product ${gemmOneThread.toFixed(0)} GFLOP/s on one thread${all}; copy ${copy.toFixed(1)} GB/s`;
}
