// Writes the programs of the digits' model, with short chains, to files, for tools that run them without Deno (native/tests/run_program.cpp, compute-sanitizer).
//
//   deno run -A scripts/support/write_programs.ts FOLDER

import { join } from "node:path";
import { compileGraph } from "../../src/compile/compile.ts";
import { parseConfig } from "../../src/coopflow/config.ts";
import { compileOptionsOf } from "../../src/coopflow/model_programs.ts";
import { presets } from "../../src/coopflow/presets.ts";
import { buildProgram, type ProgramRequest } from "../../src/coopflow/program_request.ts";

/** Every program that is run, by name. Two steps of the chain have the kernels of any number: instrumented code is a hundred times slower. */
export function digitsPrograms(batch: number): Record<string, Uint8Array<ArrayBuffer>> {
  const { data, flow, energy } = presets.digits;
  const config = parseConfig({
    data,
    flow,
    energy,
    langevin: { steps: 2 },
    training: { batch, initialisationImages: batch },
  });
  const requests: Readonly<Record<string, ProgramRequest>> = {
    learn: { config, kind: "learn" },
    initialise: { config, kind: "initialise", images: batch },
    sample: { config, kind: "sample", averaged: {}, trajectory: false },
    density: { config, kind: "density", averaged: {} },
  };
  const compiled = (request: ProgramRequest, winograd: boolean): Uint8Array<ArrayBuffer> =>
    compileGraph(buildProgram(request).graph, compileOptionsOf(config, { winograd })).bytes;
  return {
    ...Object.fromEntries(Object.entries(requests).map(([name, request]) => [name, compiled(request, true)])),
    // As precisions below float32 have it.
    "learn-direct": compiled({ config, kind: "learn" }, false),
  };
}

/** Writes them to a folder; returns the files. */
export async function writePrograms(folder: string, batch: number): Promise<string[]> {
  await Deno.mkdir(folder, { recursive: true });
  return await Promise.all(
    Object.entries(digitsPrograms(batch)).map(async ([name, bytes]) => {
      const file = join(folder, `${name}.cfp`);
      await Deno.writeFile(file, bytes);
      return file;
    }),
  );
}

if (import.meta.main) {
  const [folder] = Deno.args;
  if (folder === undefined) {
    console.error("write_programs: expected a folder");
    Deno.exit(2);
  }
  for (const file of await writePrograms(folder, 4)) console.log(file);
}
