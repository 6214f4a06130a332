import { compileGraph } from "../../src/compile/compile.ts";
import { parseConfig } from "../../src/coopflow/config.ts";
import { compileOptionsOf } from "../../src/coopflow/model_programs.ts";
import { buildProgram } from "../../src/coopflow/program_request.ts";
import { presets } from "../../src/coopflow/presets.ts";
const batch = Number(Deno.args[0]);
for (const recompute of [false, true]) {
const { data, flow, energy } = presets.cifar10;
const config = parseConfig({ data, flow, energy, langevin: { steps: 30 }, training: { batch, initialisationImages: batch, recompute } });
for (const kind of ["learn"] as const) {
const r = compileGraph(buildProgram({ config, kind }).graph, compileOptionsOf(config, { winograd: true }));
console.log(recompute, batch, Object.keys(r), (r as unknown as {arenaBytes:number}).arenaBytes);
await Deno.writeFile(`/tmp/paper-${kind}-${batch}${recompute ? "-re" : ""}.cfp`, r.bytes);
}}
