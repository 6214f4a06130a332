/** Products of all pairs of vectors on a device, in float32: some hundred times as fast as in JavaScript. */
import { compileGraph } from "../compile/compile.ts";
import { feed, matmul, view } from "../graph/build.ts";
import { Graph } from "../graph/graph.ts";
import { PAIR_BLOCK, type Products } from "../metrics/products.ts";
import { Device, type DeviceOptions } from "../runtime/device.ts";
import type { Program } from "../runtime/program.ts";

/** Fewest vectors that a program is made for. */
const LEAST = 64;

/** Vectors of the program that takes n: few programs, none for much more than is asked. */
function sizeFor(n: number): number {
  return Math.min(PAIR_BLOCK, Math.max(LEAST, 2 ** Math.ceil(Math.log2(n))));
}

/** Owns a device. Close it, or declare it with `using`. */
export class PairProducts implements Disposable {
  readonly #device: Device;
  /** By the vectors' number and length. */
  readonly #programs = new Map<string, Program>();

  private constructor(device: Device) {
    this.#device = device;
  }

  static open(options: DeviceOptions = {}): PairProducts {
    return new PairProducts(Device.open(options));
  }

  /** See {@linkcode Products}; at most {@linkcode PAIR_BLOCK} vectors of each set. */
  readonly products: Products = async (x, y, d) => {
    const [n, m] = [x.length / d, y.length / d];
    const size = sizeFor(Math.max(n, m));
    const [a, b] = [x, y].map((rows) => {
      const block = new Float32Array(size * d);
      block.set(rows);
      return block;
    });
    const { products } = await this.#program(size, d).run({ x: a!, y: b! });
    const out = new Float32Array(n * m);
    for (let i = 0; i < n; i++) out.set(products!.subarray(i * size, i * size + m), i * m);
    return out;
  };

  #program(size: number, d: number): Program {
    const key = `${size}×${d}`;
    let program = this.#programs.get(key);
    if (program === undefined) {
      const graph = new Graph();
      const [x, y] = [feed(graph, "x", [1, size, d]), feed(graph, "y", [1, size, d])];
      const turned = view(y, { offset: 0, shape: [1, d, size], strides: [0, 1, d] });
      graph.fetch("products", matmul(x, turned));
      program = this.#device.load(compileGraph(graph).bytes);
      this.#programs.set(key, program);
    }
    return program;
  }

  [Symbol.dispose](): void {
    this.#device.close();
  }
}
