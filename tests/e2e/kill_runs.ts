/** Kills training runs and resumes them: shared by the test (5 kills) and the study (any preset and number). */
import { Buffer } from "node:buffer";
import { assert, assertEquals } from "@std/assert";
import { uniforms } from "../../src/random.ts";
import { type Ended, start } from "../cli/support.ts";
import { peakMegabytes } from "../support/peak_memory.ts";

/** What is trained and how it is killed. */
export interface Killing {
  /** Options of `train`, without those of output and length. */
  readonly args: readonly string[];
  readonly kills: number;
  readonly iterations: number;
  /** Iterations that the last kill leaves to be done. */
  readonly margin: number;
  /** The longest time in ms between an iteration's end and the kill: about as long as an iteration takes. */
  readonly delay: number;
}

/** Runs the command line to its end; also its peak memory. */
async function finished(cwd: string, args: readonly string[]): Promise<Ended & { readonly megabytes: number }> {
  const child = start(cwd, args);
  const texts = [child.stdout, child.stderr].map((stream) => new Response(stream).text());
  const [megabytes, { code }, out = "", err = ""] = await Promise.all([peakMegabytes(child), child.status, ...texts]);
  return { code, out, err, megabytes };
}

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

/** Whether two files hold the same bytes: at paper size they are too long to be compared, or told of, by element. */
async function sameBytes(a: string, b: string): Promise<boolean> {
  const [left, right] = await Promise.all([Deno.readFile(a), Deno.readFile(b)]);
  return Buffer.from(left.buffer, left.byteOffset, left.byteLength).equals(right);
}

/**
 * Trains once in peace and once with kill -9 at random moments, resumed each time; both must end with the same final checkpoint, bit for bit,
 * and the resumed run's metrics must have each iteration once. Returns the peak memory in MB of the run in peace.
 */
export async function killAndResume(folder: string, killing: Killing): Promise<number> {
  const { kills, iterations, margin, delay } = killing;
  const last = `checkpoints/iteration_${iterations}.safetensors`;
  const args = ["train", ...killing.args, "--iterations", String(iterations), "--json"];
  const whole = await finished(folder, [...args, "--out", "whole"]);
  assertEquals(whole.code, 0, whole.err);

  const resume = ["train", "--resume", "killed", "--json"];
  const step = Math.floor((iterations - margin) / (kills - 1));
  for (const [k, share] of uniforms(7, "kills", kills).entries()) {
    const child = start(folder, k === 0 ? [...args, "--out", "killed"] : resume);
    assert(await killed(child, k * step, delay * share), `run ${k} ended before it was killed`);
  }
  const end = await finished(folder, resume);
  assertEquals(end.code, 0, end.err);
  assert(await sameBytes(`${folder}/killed/${last}`, `${folder}/whole/${last}`), `${last} differs between the runs`);
  const lines = (await Deno.readTextFile(`${folder}/killed/metrics.jsonl`)).trim().split("\n");
  assertEquals(lines.map((line) => JSON.parse(line).iteration), Array.from({ length: iterations }, (_, i) => i + 1));
  return whole.megabytes;
}
