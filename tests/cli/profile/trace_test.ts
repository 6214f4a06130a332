import { describe, it } from "@std/testing/bdd";
import { assertEquals } from "@std/assert";
import { chromeTrace } from "../../../src/cli/profile/trace.ts";
import { checkTrace, PROFILE, spans } from "./support.ts";

describe("chromeTrace", () => {
  const { traceEvents } = chromeTrace(PROFILE, "a title");

  it("is a valid trace", () => checkTrace(JSON.parse(JSON.stringify(traceEvents))));

  it("has every execution in microseconds, with what it worked on", () => {
    const instructions = spans(traceEvents, 2);
    assertEquals(instructions.map(({ ts, dur }) => [ts, dur]), [
      [0, 4000],
      [4000, 1000],
      [5500, 500],
      [6000, 1000],
      [7000, 500],
      [8000, 1000],
      [9000, 2000],
    ]);
    assertEquals(instructions[1]?.name, "matmul langevin.ebm.f.2.conv1");
    assertEquals(instructions[1]?.args, { instruction: 2, flops: 1e8, bytes: 1e6 });
    assertEquals(instructions[5]?.name, "map");
  });

  it("joins neighbours of one layer", () => {
    assertEquals(spans(traceEvents, 1).map(({ name, ts, dur }) => [name, ts, dur]), [
      ["flow.flows.checkers.2", 0, 4000],
      ["langevin.ebm.f.2", 4000, 3500],
      ["(no layer)", 8000, 1000],
      ["flow.flows.checkers.4", 9000, 2000],
    ]);
  });
});
