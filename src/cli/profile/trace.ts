/** A profile as a trace that chrome://tracing and ui.perfetto.dev open. */
import type { Profile } from "../../runtime/program.ts";
import { layerOf } from "./group.ts";

/** One event of the Trace Event Format: `X` a span, `M` metadata. Times are microseconds. */
export interface TraceEvent {
  readonly name: string;
  readonly ph: "X" | "M";
  readonly pid: number;
  readonly tid: number;
  readonly ts: number;
  readonly dur?: number;
  readonly cat?: string;
  readonly args: Readonly<Record<string, string | number>>;
}

/** A trace file's content. */
export interface Trace {
  readonly traceEvents: readonly TraceEvent[];
  readonly displayTimeUnit: "ms";
  readonly otherData: Readonly<Record<string, string>>;
}

const LAYERS = 1, INSTRUCTIONS = 2;
/** Microseconds to nanoseconds' precision: what was measured, in fewer digits. */
const micros = (seconds: number): number => Math.round(1e9 * seconds) / 1e3;

/** Two rows: layers (neighbouring executions of one layer are one span) above the instructions. */
export function chromeTrace({ entries, executions }: Profile, title: string): Trace {
  const byIndex = new Map(entries.map((entry) => [entry.index, entry]));
  const named = (name: string, tid: number, text: string): TraceEvent => (
    { name, ph: "M", pid: 1, tid, ts: 0, args: { name: text } }
  );
  const layers: { name: string; begin: number; end: number }[] = [];
  const instructions: TraceEvent[] = [];
  for (const { index, begin, seconds } of executions) {
    const entry = byIndex.get(index);
    if (entry === undefined) continue;
    const { op, name, flops, bytes } = entry;
    const layer = layerOf(name), end = begin + seconds;
    const last = layers.at(-1);
    if (last?.name === layer) last.end = end;
    else layers.push({ name: layer, begin, end });
    instructions.push({
      name: `${op} ${name}`.trimEnd(),
      cat: op,
      ph: "X",
      pid: 1,
      tid: INSTRUCTIONS,
      ts: micros(begin),
      dur: micros(seconds),
      args: { instruction: index, flops, bytes },
    });
  }
  const spans = layers.map(({ name, begin, end }): TraceEvent => (
    { name, cat: "layer", ph: "X", pid: 1, tid: LAYERS, ts: micros(begin), dur: micros(end - begin), args: {} }
  ));
  return {
    traceEvents: [
      named("process_name", LAYERS, title),
      named("thread_name", LAYERS, "layers"),
      named("thread_name", INSTRUCTIONS, "instructions"),
      ...spans,
      ...instructions,
    ],
    displayTimeUnit: "ms",
    otherData: { title },
  };
}
