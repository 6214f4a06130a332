import { assert, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { compileGraph } from "../../src/compile/compile.ts";
import { disassemble } from "../../src/compile/disassemble.ts";
import { OP_TABLE_HASH } from "../../src/compile/opcodes.ts";
import { ShapeError } from "../../src/errors.ts";
import * as b from "../../src/graph/build.ts";
import { Graph } from "../../src/graph/graph.ts";

function program(factor: number): Graph {
  const g = new Graph();
  const x = b.feed(g, "x", [2, 3]);
  const w = b.state(g, "w", [3]);
  const y = g.scoped("layer", () => b.linear(b.mul(x, factor), b.broadcast(w, [4, 3])));
  g.fetch("y", y);
  g.assign("w", b.mul(w, 0.5));
  return g;
}

describe("compileGraph", () => {
  it("gives the same bytes for the same graph, and others for another", () => {
    assertEquals(compileGraph(program(2)).bytes, compileGraph(program(2)).bytes);
    assertNotEquals(compileGraph(program(2)).bytes, compileGraph(program(3)).bytes);
  });

  it("marks the bytes with magic, version and op table, and their length", () => {
    const { bytes } = compileGraph(program(2));
    assertEquals(new TextDecoder().decode(bytes.subarray(0, 4)), "COFP");
    const header = new DataView(bytes.buffer);
    assertEquals(header.getBigUint64(8, true), OP_TABLE_HASH);
    assertEquals(header.getBigUint64(20, true), BigInt(bytes.length));
    assertEquals(bytes.length % 64, 0);
  });

  it("needs an arena no smaller than what lives at once", () => {
    const { arenaBytes, peakBytes } = compileGraph(program(2));
    assert(arenaBytes >= peakBytes && peakBytes > 0);
  });

  it("refuses a graph that is not well formed", () => {
    const g = new Graph();
    const w = b.state(g, "w", [3]);
    g.assign("w", b.sum(w));
    assertThrows(() => compileGraph(g), ShapeError, "verify: expected 3");
  });
});

describe("disassemble", () => {
  it("shows buffers, instructions and layers from the bytes alone", () => {
    const text = disassemble(compileGraph(program(2)).bytes);
    assert(/b\d+ = feed "x" 24 bytes/.test(text), text);
    assert(/b\d+ = state "w" 12 bytes/.test(text), text);
    assert(/matmul\(.*\) \{0\} # layer/.test(text), text);
    assert(/^arena \d+ bytes, constants 0 bytes, commit at \d+/.test(text), text);
  });

  it("indents loops", () => {
    const g = new Graph();
    const { carried } = b.repeat(g, 3, [b.feed(g, "x", [4])], ([p]) => ({ carried: [b.tanh(p!)] }));
    g.fetch("y", carried[0]!);
    assert(/\n {2}\d+: .* = map\(/.test(disassemble(compileGraph(g).bytes)));
  });

  it("refuses what is no program", () => {
    assertThrows(() => disassemble(new Uint8Array(64)), RangeError, "expected a program, found magic 0x0");
  });
});
