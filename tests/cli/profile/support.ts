import { assert } from "@std/assert";
import type { TraceEvent } from "../../../src/cli/profile/trace.ts";
import type { Profile, ProfileEntry } from "../../../src/runtime/program.ts";

/** One entry; seconds are of all calls together. */
function entry(
  index: number,
  op: string,
  name: string,
  [calls, seconds, flops, bytes]: [number, number, number, number],
): ProfileEntry {
  return { index, op, name, calls, seconds, flops, bytes };
}

/** A convolution, a chain of two steps (a product and a map in the same layer), an update, and an instruction that never ran. */
export const PROFILE: Profile = {
  entries: [
    entry(0, "conv", "flow.flows.checkers.2.nn.in_conv.conv", [1, 0.004, 4e8, 8e6]),
    entry(2, "matmul", "langevin.ebm.f.2.conv1", [2, 0.002, 1e8, 1e6]),
    entry(3, "map", "langevin.ebm.f.2", [2, 0.001, 1e6, 2e6]),
    entry(4, "map", "", [1, 0.001, 0, 1e6]),
    entry(5, "conv", "flow.flows.checkers.4.nn.in_conv.conv", [1, 0.002, 4e8, 8e6]),
    entry(6, "map", "never", [0, 0, 1e9, 1e9]),
  ],
  executions: [
    { index: 0, begin: 0, seconds: 0.004 },
    { index: 2, begin: 0.004, seconds: 0.001 },
    { index: 3, begin: 0.0055, seconds: 0.0005 },
    { index: 2, begin: 0.006, seconds: 0.001 },
    { index: 3, begin: 0.007, seconds: 0.0005 },
    { index: 4, begin: 0.008, seconds: 0.001 },
    { index: 5, begin: 0.009, seconds: 0.002 },
  ],
};

/** The spans of a row. */
export function spans(events: readonly TraceEvent[], tid: number): TraceEvent[] {
  return events.filter((event) => event.ph === "X" && event.tid === tid);
}

/** What the viewers ask of a trace: spans with a length, one after the other in each row, every row named. */
export function checkTrace(events: readonly TraceEvent[]): void {
  for (const event of events) {
    assert(typeof event.name === "string" && event.name !== "" && event.ts >= 0 && event.pid === 1);
    assert(event.ph === "M" || (event.dur !== undefined && event.dur >= 0));
  }
  const named = new Set(events.filter(({ name }) => name === "thread_name").map(({ tid }) => tid));
  for (const tid of new Set(events.map((event) => event.tid))) {
    assert(named.has(tid), `row ${tid} has no name`);
    let end = 0;
    for (const { ts, dur = 0 } of spans(events, tid)) {
      assert(ts >= end - 0.01, `${ts} µs begins before ${end} µs`);
      end = ts + dur;
    }
  }
}
