import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { CoopFlow } from "../../src/coopflow/model.ts";
import { presets } from "../../src/coopflow/presets.ts";
import { digits } from "../../src/data/digits.ts";
import { encodePng } from "../../src/io/png.ts";
import { tensorOf, writeSafetensors } from "../../src/io/safetensors.ts";
import { THREADS } from "../coopflow/native.ts";
import { namesIn, withFolder } from "../io/support.ts";
import { run, start } from "./support.ts";

/** How a command ended, the processor time that it took, and the most memory that it had. */
interface Refusal {
  readonly code: number;
  readonly err: string;
  readonly seconds: number;
  readonly megabytes: number;
}

const TICKS_PER_SECOND = 100;

/** Processor time rather than the clock's, as machines that run tests are busy. */
async function measured(folder: string, args: readonly string[]): Promise<Refusal> {
  const child = start(folder, args);
  const texts = Promise.all([child.stderr, child.stdout].map((stream) => new Response(stream).text()));
  let seconds = 0, megabytes = 0;
  const timer = setInterval(() => {
    try {
      const status = Deno.readTextFileSync(`/proc/${child.pid}/status`);
      megabytes = Math.max(megabytes, Number(/^VmHWM:\s*(\d+) kB$/m.exec(status)?.[1] ?? 0) / 1024);
      const fields = Deno.readTextFileSync(`/proc/${child.pid}/stat`).split(") ")[1]?.split(" ") ?? [];
      seconds = Math.max(seconds, (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND);
    } catch {
      // It has ended.
    }
  }, 5);
  const { code } = await child.status;
  clearInterval(timer);
  return { code, err: (await texts)[0]!, seconds, megabytes };
}

/** Each is refused before the model is read: arguments, exit code, message. */
const REFUSED: readonly [args: string[], code: number, message: string][] = [
  [["density", "run", "--data", "large.safetensors"], 1, "data.height: expected 8 as configured, found 32"],
  [["density", "run", "--against", "large.safetensors"], 1, "data.height: expected 8 as configured, found 32"],
  [["density", "run.safetensors", "--data", "coloured.safetensors"], 1, "data.channels: expected 1 as configured"],
  [["density", "run", "--count", "298"], 2, "--count: expected at most the 297 images of digits (held out), found 298"],
  [["diagnose", "run", "--data", "large.safetensors"], 1, "data.height: expected 8 as configured, found 32"],
  [["diagnose", "nowhere"], 1, "cannot read nowhere: no such file or directory"],
  [["reconstruct", "run", "--data", "large.safetensors"], 1, "data.height: expected 8 as configured, found 32"],
  [["reconstruct", "run", "--out", "large.safetensors/x.png"], 1, "cannot write large.safetensors/x.png"],
  [["interpolate", "run", "--data", "coloured.safetensors"], 1, "data.channels: expected 1 as configured, found 3"],
  [["interpolate", "run", "--count", "3"], 1, "expected an even number of images to interpolate between, found 3"],
  [["inpaint", "run", "--data", "large.safetensors"], 1, "data.height: expected 8 as configured, found 32"],
  [["inpaint", "run", "--mask", "0,0,8,8"], 1, "mask: expected some pixels hidden and some not, found all of them"],
  [["inpaint", "run", "--mask", "dark.png"], 1, "mask: expected some pixels hidden and some not, found none hidden"],
  [["sample", "large.safetensors", "--count", "1", "--out", "x"], 1, "expected a checkpoint of format"],
  [["sample", "run", "--count", "1", "--out", "large.safetensors/x"], 1, "cannot write large.safetensors/x: "],
  [["train", "--preset", "cifar1"], 2, "--preset: expected digits, digits-pre, digits-long, small, paper, cifar10,"],
  [["train", "--preset", "digits", "--set", "flow.chanels=3"], 2, "the nearest is flow.channels"],
  [["train", "--resume", "run", "--preset", "cifar10"], 2, "--preset: expected nothing that changes the run"],
  [["import", "run.pth.tar", "new", "--preset", "cifar10"], 1, "choose another --preset or --set"],
];

describe("bad input", () => {
  it("is refused in one line, within a second and 100 MB", async () => {
    await withFolder(async (folder) => {
      // The digits' networks, as a small model would not show what reading one costs.
      const images = (...shape: number[]) => tensorOf(shape, new Float32Array(shape.reduce((a, b) => a * b, 1)));
      await writeSafetensors(`${folder}/large.safetensors`, new Map([["images", images(4, 32, 32, 1)]]));
      await writeSafetensors(`${folder}/coloured.safetensors`, new Map([["images", images(4, 8, 8, 3)]]));
      const data = new Uint8Array(64);
      await Deno.writeFile(`${folder}/dark.png`, encodePng({ width: 8, height: 8, channels: 1, data }));
      {
        const { training } = presets.digits;
        const quick = { ...presets.digits, training: { ...training, initialisationImages: 8 }, langevin: { steps: 1 } };
        await using model = await CoopFlow.create(quick, THREADS);
        await Array.fromAsync(model.fit(await digits(), { iterations: 1 }));
        await Deno.mkdir(`${folder}/run/checkpoints`, { recursive: true });
        await Deno.writeTextFile(`${folder}/run/config.json`, JSON.stringify(model.config));
        await model.save(`${folder}/run/checkpoints/iteration_1.safetensors`);
        await model.save(`${folder}/run.safetensors`);
      }
      assertEquals((await run(folder, ["export", "run", "--to", "run.pth.tar"])).code, 0);
      const before = namesIn(folder);
      for (const [args, code, message] of REFUSED) {
        const ended = await measured(folder, args);
        const found = `${args.join(" ")}: ${JSON.stringify(ended)}`;
        assertEquals(ended.code, code, found);
        assertMatch(ended.err, /^coopflow: [^\n]*\n$/, found);
        assertStringIncludes(ended.err, message);
        assert(ended.megabytes > 0 && ended.megabytes < 100, found);
        assert(ended.seconds < 1, found);
        assertEquals(namesIn(folder), before, found);
      }
    });
  });
});
