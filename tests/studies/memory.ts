/**
 * `deno task study memory [PRESET [BATCH [ROWS]]] [--recompute]` (default paper 4 30): what a learning iteration holds where it holds most, by the
 * layer and op that makes each temporary and the one that reads it last; numbers in layer names are left out, so that equal layers count together.
 */
import { planArena, spansOf } from "../../src/compile/arena.ts";
import type { Buffer, Instr } from "../../src/compile/lir.ts";
import { lower } from "../../src/compile/lower.ts";
import { parseConfig } from "../../src/coopflow/config.ts";
import { learnProgram } from "../../src/coopflow/model_programs.ts";
import type { PresetName } from "../../src/coopflow/preset_names.ts";
import { presets } from "../../src/coopflow/presets.ts";

interface Group {
  bytes: number;
  count: number;
}

const megabytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(2).padStart(9)} MB`;
const place = (instr: Instr | undefined): string =>
  instr === undefined ? "?" : `${instr.op} ${instr.name.replaceAll(/\d+/g, "#")}`;

export function main(args: readonly string[]): Promise<number> {
  const recompute = args.includes("--recompute");
  const [name = "paper", batch = "4", rows = "30"] = args.filter((arg) => arg !== "--recompute");
  if (!(name in presets) || !(Number(batch) >= 1) || !(Number(rows) >= 1)) {
    console.error(`memory: expected a preset, a batch and a number of rows, found ${args.join(" ")}`);
    return Promise.resolve(2);
  }
  const { training, ...preset } = presets[name as PresetName];
  const { graph } = learnProgram(
    parseConfig({ ...preset, training: { ...training, batch: Number(batch), recompute } }),
  );
  const lowered = lower(graph);
  const { instrs } = lowered;
  const arena = planArena(lowered);
  const spans = spansOf(lowered);
  let peak = 0, at = 0;
  const live = new Float64Array(instrs.length + 1);
  for (const [buffer, { first, last }] of spans) {
    live[first]! += buffer.size;
    live[last + 1]! -= buffer.size;
  }
  live.reduce((sum, change, i) => {
    if (sum + change > peak) [peak, at] = [sum + change, i];
    return sum + change;
  }, 0);
  const makers = new Map<Buffer, Instr>();
  for (const instr of instrs) {
    for (const { buffer } of instr.outputs) if (!makers.has(buffer)) makers.set(buffer, instr);
  }
  const groups = new Map<string, Group>();
  for (const [buffer, { first, last }] of spans) {
    if (first > at || last < at) continue;
    const key = `${place(makers.get(buffer))} → ${place(instrs[last])}`;
    const { bytes, count } = groups.get(key) ?? { bytes: 0, count: 0 };
    groups.set(key, { bytes: bytes + 4 * buffer.size, count: count + 1 });
  }
  const states = new Set(lowered.buffers.filter((b) => b.kind === "state"));
  console.log(`${megabytes([...states].reduce((sum, b) => sum + 4 * b.size, 0))}  states`);
  console.log(`${megabytes(4 * arena.elements)}  arena; ${megabytes(4 * arena.peak).trim()} live at once`);
  console.log(`${megabytes(4 * peak)}  live at instruction ${at} of ${instrs.length}, ${place(instrs[at])}:`);
  for (const [key, { bytes, count }] of [...groups].sort(([, a], [, b]) => b.bytes - a.bytes).slice(0, Number(rows))) {
    console.log(`${megabytes(bytes)}  ${String(count).padStart(4)} × ${key}`);
  }
  return Promise.resolve(0);
}
