import { describe, it } from "@std/testing/bdd";
import { assert, assertEquals } from "@std/assert";
import { uniforms } from "../../src/random.ts";
import { run, start, tinyFiles } from "../cli/support.ts";
import { withFolder } from "../io/support.ts";

const KILLS = 5;
const ITERATIONS = 150;
const LAST = `checkpoints/iteration_${ITERATIONS}.safetensors`;

/** Kills a run some time after it tells of iteration `at` (0: of its set-up); whether that was before its end. */
async function killed(child: Deno.ChildProcess, at: number, delay: number): Promise<boolean> {
  const mark = at === 0 ? '"type":"set-up"' : `"type":"iteration","iteration":${at},`;
  const errors = new Response(child.stderr).text();
  let out = "";
  let timer: ReturnType<typeof setTimeout> | undefined;
  for await (const chunk of child.stdout.pipeThrough(new TextDecoderStream())) {
    out += chunk;
    if (timer === undefined && out.includes(mark)) timer = setTimeout(() => child.kill("SIGKILL"), delay);
  }
  const [{ signal }] = await Promise.all([child.status, errors]);
  clearTimeout(timer);
  return signal === "SIGKILL";
}

describe("kill -9", () => {
  it(`at ${KILLS} moments, resumed each time, ends with the same bits as an uninterrupted run`, async () => {
    await withFolder(async (folder) => {
      const args = ["train", ...await tinyFiles(folder), "--iterations", String(ITERATIONS), "--json"];
      const whole = await run(folder, [...args, "--out", "whole"]);
      assertEquals(whole.code, 0, whole.err);

      const resume = ["train", "--resume", "killed", "--json"];
      const delays = uniforms(7, "kills", KILLS);
      for (const [k, delay] of delays.entries()) {
        const child = start(folder, k === 0 ? [...args, "--out", "killed"] : resume);
        assert(await killed(child, k * 25, 40 * delay), `run ${k} ended before it was killed`);
      }
      const end = await run(folder, resume);
      assertEquals(end.code, 0, end.err);
      assertEquals(await Deno.readFile(`${folder}/killed/${LAST}`), await Deno.readFile(`${folder}/whole/${LAST}`));
      const lines = (await Deno.readTextFile(`${folder}/killed/metrics.jsonl`)).trim().split("\n");
      assertEquals(
        lines.map((line) => JSON.parse(line).iteration),
        Array.from({ length: ITERATIONS }, (_, i) => i + 1),
      );
    });
  });
});
