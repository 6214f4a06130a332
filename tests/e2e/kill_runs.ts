/** Kills training runs and resumes them: shared by the test (5 kills) and the study (20). */
import { assert, assertEquals } from "@std/assert";
import { uniforms } from "../../src/random.ts";
import { run, start, tinyFiles } from "../cli/support.ts";

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

/**
 * Trains once in peace and once with `kills` kill -9 at random moments, resumed each time; both must end with the same final checkpoint, bit for bit,
 * and the resumed run's metrics must have each iteration once.
 */
export async function killAndResume(folder: string, kills: number, iterations: number): Promise<void> {
  const last = `checkpoints/iteration_${iterations}.safetensors`;
  const args = ["train", ...await tinyFiles(folder), "--iterations", String(iterations), "--json"];
  const whole = await run(folder, [...args, "--out", "whole"]);
  assertEquals(whole.code, 0, whole.err);

  const resume = ["train", "--resume", "killed", "--json"];
  const step = Math.floor((iterations - 25) / (kills - 1));
  for (const [k, delay] of uniforms(7, "kills", kills).entries()) {
    const child = start(folder, k === 0 ? [...args, "--out", "killed"] : resume);
    assert(await killed(child, k * step, 40 * delay), `run ${k} ended before it was killed`);
  }
  const end = await run(folder, resume);
  assertEquals(end.code, 0, end.err);
  assertEquals(await Deno.readFile(`${folder}/killed/${last}`), await Deno.readFile(`${folder}/whole/${last}`));
  const lines = (await Deno.readTextFile(`${folder}/killed/metrics.jsonl`)).trim().split("\n");
  assertEquals(lines.map((line) => JSON.parse(line).iteration), Array.from({ length: iterations }, (_, i) => i + 1));
}
