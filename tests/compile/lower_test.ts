import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import fc from "fast-check";
import { grad, hvp } from "../../src/autodiff/grad.ts";
import { planArena } from "../../src/compile/arena.ts";
import { lower } from "../../src/compile/lower.ts";
import * as b from "../../src/graph/build.ts";
import { E } from "../../src/graph/expr.ts";
import { Graph, type Value } from "../../src/graph/graph.ts";
import { randomGraphs } from "../support/random_graphs.ts";
import { checkLowering } from "./support.ts";

/** A graph made by `build`, which declares its own results. */
function graph(build: (g: Graph) => void): Graph {
  const g = new Graph();
  build(g);
  return g;
}

const opsOf = (g: Graph): string[] => lower(g).instrs.map((i) => i.op);

describe("a lowered graph computes what the graph does", () => {
  it("for random graphs", () => {
    fc.assert(fc.property(randomGraphs(), ({ graph }) => checkLowering(graph)), { numRuns: 150, seed: 1 });
  });

  it("for gradients of random graphs", () => {
    fc.assert(
      fc.property(randomGraphs(), ({ graph, feeds }) => {
        const total = graph.results.map((r) => b.scalar(b.sum(r.value))).reduce((x, y) => b.add(x, y));
        grad(total, feeds).forEach((d, i) => graph.fetch(`d${i}`, d));
        checkLowering(graph, 2, [{}, { fuse: false }]);
      }),
      { numRuns: 80, seed: 2 },
    );
  });

  it("with convolutions, their epilogues and their gradients", () => {
    checkLowering(graph((g) => {
      const x = b.feed(g, "x", [2, 4, 4, 16]);
      const w = b.state(g, "w", [16, 16, 3, 3]);
      const bias = b.state(g, "b", [16]);
      const y = b.swish(b.add(b.conv2d(x, w, { padding: 1 }), bias));
      const z = b.sumSquares(b.add(b.avgPool2(y), b.avgPool2(x)));
      const [dx, dw, db] = grad(z, [x, w, bias]);
      for (const [name, v] of Object.entries({ y, z, dx: dx!, dw: dw!, db: db! })) g.fetch(name, v);
      g.fetch("hvp", hvp(z, x, b.feed(g, "v", x.shape)));
    }));
  });

  it("with several results of one epilogue, through a reshape", () => {
    checkLowering(graph((g) => {
      const x = b.feed(g, "x", [2, 3, 4]);
      const y = b.linear(x, b.state(g, "w", [5, 4]));
      g.fetch("tanh", b.tanh(y));
      g.fetch("square", b.map([y, b.feed(g, "c", [5])], (p, q) => E.add(E.square(p), q)));
    }));
  });

  it("with parts of a concatenation that products, maps and windows write", () => {
    checkLowering(graph((g) => {
      const x = b.feed(g, "x", [2, 4, 6]);
      const [p, q] = b.split(b.linear(x, b.state(g, "w", [6, 6])), 2, -1) as [Value, Value];
      const joined = b.concat([b.exp(p), b.mul(q, 2), b.slice(x, 2, 1, 3)], -1);
      g.fetch("joined", joined);
      g.fetch("product", b.linear(joined, b.state(g, "v", [3, 8])));
      g.fetch("padded", b.pad(b.tanh(p), [[0, 1], [1, 0], [2, 2]]));
      const half = b.map([b.linear(x, b.state(g, "u", [3, 6]))], E.softplus);
      g.fetch("epilogue into a part", b.concat([half, p], -1));
    }));
  });

  it("with loops: carried, captured, scanned, stacked, reversed, nested", () => {
    checkLowering(graph((g) => {
      const x = b.feed(g, "x", [2, 3]);
      const y = b.feed(g, "y", [2, 3]);
      const xs = b.feed(g, "xs", [4, 2, 3]);
      const swap = b.repeat(g, 3, [x, y], ([p, q]) => ({ carried: [q!, b.add(p!, q!)], stacked: [p!] }));
      [...swap.carried, ...swap.stacked].forEach((v, i) => g.fetch(`swap${i}`, v));
      const back = b.repeat(g, 4, [x], ([p], [s]) => {
        const next = b.map([p!, s!, b.exp(y)], (a, c, d) => E.add(E.tanh(a), E.mul(c, d)));
        return { carried: [next], stacked: [b.mul(p!, s!), next] };
      }, { scanned: [xs], reversed: true });
      [...back.carried, ...back.stacked].forEach((v, i) => g.fetch(`back${i}`, v));
      const nest = b.repeat(g, 2, [x], ([outer]) => {
        const inner = b.repeat(
          g,
          3,
          [outer!],
          ([p], [s]) => ({ carried: [b.tanh(b.add(p!, s!))], stacked: [b.sum(p!)] }),
          {
            scanned: [b.slice(xs, 0, 0, 3)],
          },
        );
        return { carried: [b.add(inner.carried[0]!, outer!)], stacked: [inner.stacked[0]!] };
      });
      [...nest.carried, ...nest.stacked].forEach((v, i) => g.fetch(`nest${i}`, v));
    }));
  });

  it("with a chain of gradient steps and its adjoint", () => {
    checkLowering(graph((g) => {
      const x = b.feed(g, "x", [1, 4, 4, 2]);
      const w = b.state(g, "w", [3, 2, 3, 3]);
      const { carried } = b.repeat(g, 3, [x], ([p]) => {
        const f = b.sum(b.swish(b.conv2d(p!, w, { padding: 1 })));
        return { carried: [b.clamp(b.add(p!, b.mul(grad(f, [p!])[0]!, 0.1)), -1, 1)] };
      });
      const loss = b.sumSquares(carried[0]!);
      const [dx, dw] = grad(loss, [x, w]);
      for (const [name, v] of Object.entries({ y: carried[0]!, dx: dx!, dw: dw! })) g.fetch(name, v);
    }));
  });

  it("with draws inside and outside loops", () => {
    checkLowering(graph((g) => {
      const key = b.feed(g, "key", [4], "u32");
      const first = b.normal(key, "z", [2, 3]);
      const { carried, stacked } = b.repeat(g, 3, [first], ([p]) => {
        const noise = b.normal(key, "noise", [2, 3]);
        return { carried: [b.add(p!, noise)], stacked: [b.uniform(key, "u", [2, 3])] };
      });
      g.fetch("z", carried[0]!);
      g.fetch("u", stacked[0]!);
    }));
  });

  it("with the fused layers, dropout included", () => {
    checkLowering(graph((g) => {
      const key = b.feed(g, "key", [4], "u32");
      const x = b.feed(g, "x", [2, 5, 4]);
      const [norm] = g.add("layer_norm", { eps: 1e-5 }, [x, b.state(g, "gain", [4]), b.state(g, "bias", [4])]);
      const kvq = b.linear(norm!, b.state(g, "w", [12, 4]));
      const [attended] = g.add("attention", { heads: 2, dropout: 0.25, stream: "mask", loop: 0 }, [kvq, key]);
      const p = b.linear(attended!, b.state(g, "p", [8 * 4, 4]));
      const [y, logDet] = g.add("mixture", { components: 2 }, [x, p, b.state(g, "r", [4])]);
      const loss = b.add(b.sumSquares(y!), b.sum(logDet!));
      g.fetch("loss", loss);
      grad(loss, [x, kvq]).forEach((d, i) => g.fetch(`d${i}`, d));
    }));
  });
});

describe("the commit", () => {
  it("sees the old values: swapped, shifted and read states", () => {
    checkLowering(graph((g) => {
      const [p, q, r] = ["p", "q", "r"].map((name) => b.state(g, name, [5])) as [Value, Value, Value];
      g.assign("p", q);
      g.assign("q", p);
      g.assign("r", b.add(b.mul(r, 2), p));
      g.fetch("old", r);
      g.fetch("product", b.mul(p, r));
    }));
  });

  it("of a transposed state, and of one value to two states", () => {
    checkLowering(graph((g) => {
      const p = b.state(g, "p", [3, 3]);
      const q = b.state(g, "q", [3, 3]);
      const sum = b.add(p, q);
      g.assign("p", b.add(b.transpose(p, [1, 0]), 1));
      g.assign("q", sum);
      b.state(g, "s", [3, 3]);
      g.assign("s", sum);
    }));
  });

  it("of an update that reads its own and other states", () => {
    checkLowering(graph((g) => {
      const x = b.feed(g, "x", [6]);
      const [w, m] = [b.state(g, "w", [6]), b.state(g, "m", [6])];
      const next = b.map([m, x], (a, c) => E.add(E.mul(a, 0.9), E.mul(c, 0.1)));
      g.assign("m", next);
      g.assign("w", b.map([w, next], (a, c) => E.sub(a, E.mul(c, 0.5))));
      g.fetch("norm", b.sumSquares(next));
    }));
  });

  it("comes last, in place", () => {
    const g = graph((g) => {
      const w = b.state(g, "w", [64]);
      g.fetch("y", b.sum(w));
      g.assign("w", b.mul(w, 0.5));
    });
    const lowered = lower(g);
    assertEquals(lowered.commit, 1);
    assertEquals(lowered.instrs.map((i) => i.op), ["reduce", "map"]);
    assertEquals(planArena(lowered).elements, 0);
  });
});

describe("fusion", () => {
  it("makes one instruction of element-wise neighbours", () => {
    assertEquals(
      opsOf(graph((g) => {
        const x = b.feed(g, "x", [8, 8]);
        g.fetch("y", b.mul(b.swish(b.add(x, 1)), b.tanh(x)));
      })),
      ["map"],
    );
  });

  it("puts a map in front of a reduction into it, and one behind a convolution too", () => {
    assertEquals(opsOf(graph((g) => g.fetch("y", b.sumSquares(b.feed(g, "x", [8, 8]))))), ["reduce"]);
    assertEquals(
      opsOf(graph((g) => {
        const y = b.conv2d(b.feed(g, "x", [1, 8, 8, 3]), b.state(g, "w", [4, 3, 3, 3]), { padding: 1 });
        g.fetch("y", b.swish(b.add(y, b.state(g, "b", [4]))));
      })),
      ["conv"],
    );
  });

  it("pools in the convolution that makes the image, and lets each convolution add its own bias", () => {
    const { instrs } = lower(graph((g) => {
      const x = b.feed(g, "x", [1, 6, 4, 16]);
      const biased = (name: string): Value =>
        b.add(b.conv2d(x, b.state(g, `${name}.w`, [32, 16, 3, 3]), { padding: 1 }), b.state(g, `${name}.b`, [32]));
      g.fetch("y", b.avgPool2(b.add(b.swish(biased("p")), b.swish(biased("q")))));
    }));
    const convs = instrs.filter((i) => i.op === "conv");
    assertEquals(instrs.filter((i) => i.op === "reduce"), []);
    assertEquals(convs.map((i) => i.attrs[7]), [1, 1 | 1 << 8]);
    assertEquals(convs[1]!.outputs[0]!.layout.shape, [1, 3, 2, 32]);
  });

  it("pools in a reduction where the convolution can't", () => {
    assertEquals(
      opsOf(graph((g) => {
        const y = b.conv2d(b.feed(g, "x", [1, 4, 4, 3]), b.state(g, "w", [4, 3, 3, 3]), { padding: 1 });
        g.fetch("y", b.avgPool2(b.tanh(y)));
      })),
      ["conv", "reduce", "map", "map"], // the sum, its quarter, its way to the fetch
    );
  });

  it("reads an upsampled image where it lies", () => {
    const g = graph((g) => {
      const x = b.feed(g, "x", [2, 4, 6, 3]);
      g.fetch("y", grad(b.sumSquares(b.avgPool2(b.tanh(x))), [x])[0]!);
    });
    checkLowering(g);
    const copies = lower(g).instrs.filter((i) => i.op === "map" && i.inputs.length === 1 && i.attrs.join() === "0,0,0");
    assertEquals(copies, []);
  });

  it("keeps the slope of an activation instead of its operand in a loop", () => {
    const { instrs } = lower(graph((g) => {
      const w = b.state(g, "w", [16, 16, 3, 3]);
      const { carried } = b.repeat(g, 5, [b.feed(g, "x", [1, 4, 4, 16])], ([p]) => {
        const inner = b.swish(b.conv2d(p!, w, { padding: 1 }));
        const f = b.scalar(b.sumSquares(b.conv2d(inner, w, { padding: 1 })));
        return { carried: [b.add(p!, grad(f, [p!])[0]!)] };
      });
      g.fetch("y", carried[0]!);
    }));
    const forward = instrs.find((i) => i.op === "conv")!, back = instrs.find((i) => i.op === "conv_data_grad")!;
    const slope = back.inputs.at(-1)!;
    assertEquals(forward.outputs.length, 2);
    assert(forward.outputs.some((w) => w.buffer === slope.buffer), "expected the slope to come from the convolution");
  });

  it("keeps the slope of a biased convolution's swish too, and writes it over an operand of the epilogue that nobody reads again", () => {
    const g = graph((g) => {
      const x = b.feed(g, "x", [1, 4, 4, 16]),
        one = b.state(g, "one", [16, 16, 3, 3]),
        two = b.state(g, "two", [16, 16, 3, 3]);
      const active = (w: Value, bias: string): Value =>
        b.swish(b.add(b.conv2d(x, w, { padding: 1 }), b.state(g, bias, [16])));
      const y = b.scalar(b.sumSquares(b.conv2d(b.add(active(one, "p"), active(two, "q")), one, { padding: 1 })));
      grad(y, [one, two]).forEach((d, i) => g.fetch(`d${i}`, d));
    });
    checkLowering(g);
    const lowered = lower(g);
    const [first, second] = lowered.instrs.filter((i) => i.op === "conv");
    assertEquals(second!.outputs.length, 3);
    const { offsets } = planArena(lowered), raw = offsets.get(first!.outputs[0]!.buffer);
    assert(second!.outputs.some((w) => offsets.get(w.buffer) === raw), "expected a result in the operand's place");
  });

  it("transforms weights once in front of a loop", () => {
    const ops = opsOf(graph((g) => {
      const w = b.state(g, "w", [16, 16, 3, 3]);
      const { carried } = b.repeat(
        g,
        5,
        [b.feed(g, "x", [1, 4, 4, 16])],
        ([p]) => ({ carried: [b.tanh(b.conv2d(p!, w, { padding: 1 }))] }),
      );
      g.fetch("y", carried[0]!);
    }));
    assert(ops.indexOf("winograd_weights") < ops.indexOf("repeat"), ops.join(" "));
  });

  it("keeps small transformed weights as three bfloat16 a value for processors with tiles, where many tiles of pixels use them", () => {
    const sizes = (images: number, channels: number, tiles: boolean): number[] => {
      const g = graph((g) => {
        const x = b.feed(g, "x", [images, 16, 16, channels]), w = b.state(g, "w", [32, channels, 3, 3]);
        g.fetch("y", b.conv2d(x, w, { padding: 1 }));
      });
      return lower(g, { tiles }).instrs.filter(({ op }) => op === "winograd_weights").map(({ outputs }) =>
        outputs[0]!.buffer.size
      );
    };
    assertEquals(sizes(16, 48, false), [36 * 48 * 32]);
    assertEquals(sizes(16, 48, true), [54 * 64 * 32]);
    assertEquals(sizes(15, 48, true), [36 * 48 * 32]); // 240 tiles
    assertEquals(sizes(16, 512, true), [36 * 512 * 32]);
  });

  it("copies nothing for windows that operations can read", () => {
    assertEquals(
      opsOf(graph((g) => {
        const x = b.feed(g, "x", [4, 6, 8]);
        g.fetch("y", b.matmul(b.transpose(x, [0, 2, 1]), b.slice(x, 2, 0, 3)));
      })),
      ["matmul"],
    );
  });
});
