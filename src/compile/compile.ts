/** Graph to program: fuse, lower, plan, encode. */
import type { Graph } from "../graph/graph.ts";
import { verifyGraph } from "../graph/verify.ts";
import { planArena } from "./arena.ts";
import { encode } from "./encode.ts";
import { lower, type LowerOptions } from "./lower.ts";

/** A program and what is worth knowing about it. */
export interface CompiledProgram {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly instructions: number;
  /** Size of the arena, and the least any plan could need. */
  readonly arenaBytes: number;
  readonly peakBytes: number;
}

/** Options of {@linkcode compileGraph}. */
export type CompileOptions = LowerOptions;

/** Compiles a graph whose results are declared. Throws ShapeError when it is not well formed. */
export function compileGraph(g: Graph, options: CompileOptions = {}): CompiledProgram {
  verifyGraph(g);
  const lowered = lower(g, options);
  const arena = planArena(lowered);
  return {
    bytes: encode(lowered, arena),
    instructions: lowered.instrs.length,
    arenaBytes: arena.elements * 4,
    peakBytes: arena.peak * 4,
  };
}
