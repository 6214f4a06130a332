/** Lowers every program of a small and of a large model for a GPU, and checks the launch lists; needs no GPU. */
import { assertEquals, assertMatch } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { compileGraph } from "../../src/compile/compile.ts";
import { parseConfig } from "../../src/coopflow/config.ts";
import { compileOptionsOf } from "../../src/coopflow/model_programs.ts";
import type { PresetName } from "../../src/coopflow/preset_names.ts";
import { presets } from "../../src/coopflow/presets.ts";
import { buildProgram, type ProgramRequest } from "../../src/coopflow/program_request.ts";

const CHECKER = fileURLToPath(new URL("../../native/build/tests/test_cuda_lowering", import.meta.url));

/** The encoded programs of a preset, by kind. */
function programsOf(name: PresetName): Record<string, Uint8Array> {
  const config = parseConfig(presets[name]);
  const requests: readonly ProgramRequest[] = [
    { config, kind: "learn" },
    { config, kind: "initialise", images: 64 },
    { config, kind: "sample", averaged: {}, trajectory: false },
    { config, kind: "density", averaged: {} },
  ];
  return Object.fromEntries(
    requests.map((r) => [r.kind, compileGraph(buildProgram(r).graph, compileOptionsOf(config)).bytes]),
  );
}

describe("launch lists", () => {
  for (const name of ["digits", "paper"] as const) {
    it(`of the preset ${name} pass the checker`, async () => {
      const folder = await Deno.makeTempDir();
      try {
        const files = Object.entries(programsOf(name)).map(([kind, bytes]) => {
          const file = join(folder, `${kind}.cfp`);
          Deno.writeFileSync(file, bytes);
          return file;
        });
        const { code, stdout } = await new Deno.Command(CHECKER, { args: files, stdout: "piped" }).output();
        const text = new TextDecoder().decode(stdout);
        assertEquals(code, 0, text);
        assertMatch(text, /learn\.cfp: \d+ instructions, \d+ launches, \d+ kernels/);
      } finally {
        await Deno.remove(folder, { recursive: true });
      }
    });
  }
});
