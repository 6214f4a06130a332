/** Lifetimes of temporaries in the instruction list, buffers that may share memory, and their places in one arena. */
import { isDense } from "../graph/shape.ts";
import type { Buffer, Instr, Lowered, Window } from "./lir.ts";
import { type Lifetime, peakLive, planMemory } from "./plan.ts";

const ALIGN = 16; // elements: 64 bytes, a cache line and a vector

/** Where each arena buffer lies (elements), and the sizes that tell how good the plan is. */
export interface Arena {
  readonly offsets: ReadonlyMap<Buffer, number>;
  readonly elements: number;
  /** Lower bound: the most that lives at once. */
  readonly peak: number;
}

interface Span {
  first: number;
  last: number;
}

/** First and last instruction that touch each temporary; what a loop's body finds from before stays until the loop ends. */
export function spansOf(lowered: Lowered): Map<Buffer, Span> {
  const spans = new Map<Buffer, Span>();
  const loops: { start: number; end: number }[] = [];
  lowered.instrs.forEach((instr, i) => {
    while (loops.length > 0 && i > loops[loops.length - 1]!.end) loops.pop();
    for (const w of [...instr.inputs, ...instr.outputs]) {
      if (w.buffer.kind !== "arena") continue;
      let span = spans.get(w.buffer);
      if (!span) spans.set(w.buffer, span = { first: i, last: i });
      span.last = Math.max(span.last, i);
      loops.forEach((loop, level) => {
        const perStep = w.loops[level] !== 0;
        if (perStep) span.first = Math.min(span.first, loop.start);
        if (perStep || span.first < loop.start) span.last = Math.max(span.last, loop.end);
      });
    }
    if (instr.op === "repeat") loops.push({ start: i, end: i + instr.body });
  });
  return spans;
}

const isWhole = (w: Window): boolean => w.layout.offset === 0 && isDense(w.layout) && w.loops.every((s) => s === 0);
const sizeOf = (w: Window): number => w.layout.shape.reduce((n, d) => n * d, 1);

/** The first operand that an instruction reads element by element, each where it writes; undefined if it has none: those of maps and of epilogues that run by tile. */
function firstElementwise({ op, attrs }: Instr): number | undefined {
  if (op === "map") return 0;
  const winograd = (op === "conv" || op === "conv_data_grad") && attrs[2] === 1;
  return winograd ? 2 + (attrs[7]! & 1) : undefined;
}

/** A map whose operand dies with it may write over the operand: the two buffers become one. So may an epilogue. */
function shareInPlace(lowered: Lowered, spans: Map<Buffer, Span>): Map<Buffer, Buffer> {
  const home = new Map<Buffer, Buffer>();
  const rootOf = (b: Buffer): Buffer => {
    let r = b;
    for (let next = home.get(r); next; next = home.get(r)) r = next;
    return r;
  };
  lowered.instrs.forEach((instr, i) => {
    const first = firstElementwise(instr);
    if (first === undefined) return;
    for (const out of instr.outputs) {
      const to = out.buffer;
      const own = spans.get(to);
      if (to.kind !== "arena" || !own || own.first !== i || home.has(to) || !isWhole(out) || sizeOf(out) !== to.size) {
        continue;
      }
      for (const from of instr.inputs.slice(first)) {
        const root = rootOf(from.buffer);
        const span = spans.get(root);
        if (
          from.buffer.kind !== "arena" || !span || span.last !== i || root.size !== to.size || !isWhole(from) ||
          sizeOf(from) !== to.size
        ) continue;
        const sole = instr.inputs.every((w) => w === from || rootOf(w.buffer) !== root) &&
          instr.outputs.every((w) => rootOf(w.buffer) !== root);
        if (!sole) continue;
        home.set(to, root);
        span.last = own.last;
        spans.delete(to);
        break;
      }
    }
  });
  return new Map([...home.keys()].map((b) => [b, rootOf(b)]));
}

/** Places every temporary. */
export function planArena(lowered: Lowered): Arena {
  const spans = spansOf(lowered);
  const shared = shareInPlace(lowered, spans);
  const buffers = [...spans.keys()];
  const lifetimes: Lifetime[] = buffers.map((b) => ({ size: Math.ceil(b.size / ALIGN) * ALIGN, ...spans.get(b)! }));
  const { offsets, total } = planMemory(lifetimes);
  const places = new Map(buffers.map((b, i) => [b, offsets[i]!]));
  for (const [b, root] of shared) places.set(b, places.get(root)!);
  return { offsets: places, elements: total, peak: peakLive(lifetimes) };
}
