/**
 * `deno task study reconstruction [--python FILE] [--peer FILE] [--rounds 3] [--iterations 8] [--threads 2]`: the search behind `reconstruct`, 64 digits
 * and T = 30, against the same loop in PyTorch (whose program in COOPFLOW_PEER has the network, not the loop), in turn. Passes if it is 3 times as fast.
 */
import { parseArgs } from "node:util";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import { CoopFlow } from "../../src/coopflow/model.ts";
import { presets } from "../../src/coopflow/presets.ts";
import { readImages } from "../../src/data/dataset.ts";
import { digits } from "../../src/data/digits.ts";
import { median } from "../../src/cli/text_table.ts";

const IMAGES = 64;
const LEAST = 3;
const REPOSITORY = new URL("../..", import.meta.url);
const SECONDS = z.array(z.number());

const OPTIONS = {
  python: { type: "string", default: Deno.env.get("COOPFLOW_PEER_PYTHON") ?? "python3" },
  peer: {
    type: "string",
    default: Deno.env.get("COOPFLOW_PEER") ?? fileURLToPath(new URL("../shared/peer/torch_coopflow.py", REPOSITORY)),
  },
  rounds: { type: "string", default: "3" },
  iterations: { type: "string", default: "8" },
  threads: { type: "string", default: "2" },
} as const;

/** Seconds of each iteration of a search. */
async function own(model: CoopFlow, images: Float32Array, iterations: number): Promise<number[]> {
  const times: number[] = [];
  await model.reconstruct(images, { iterations: iterations + 1, onStep: () => times.push(performance.now()) });
  return times.slice(1).map((time, i) => (time - times[i]!) / 1000);
}

export async function main(args: readonly string[]): Promise<number> {
  const { values: { python, peer, ...numbers } } = parseArgs({ args: [...args], options: OPTIONS });
  const [rounds, iterations, threads] = [numbers.rounds, numbers.iterations, numbers.threads].map(Number) as [
    number,
    number,
    number,
  ];
  if (![rounds, iterations, threads].every((n) => Number.isInteger(n) && n >= 1)) {
    console.error(`reconstruction: expected whole numbers from 1, found ${JSON.stringify(numbers)}`);
    return 2;
  }
  const { train } = await digits();
  const images = readImages(train, 0, IMAGES);
  const { langevin } = presets.digits;
  await using model = await CoopFlow.create(presets.digits, { threads });
  for await (const _ of model.fit(train, { iterations: 1 }));
  const script = fileURLToPath(new URL("./reconstruction_torch.py", import.meta.url));
  const settings = [peer, threads, IMAGES, langevin.steps, langevin.stepSize, iterations].map(String);
  const other = new Deno.Command(python, { args: [script, ...settings], stdin: "piped", stdout: "piped" }).spawn();
  const [asking, answers] = [other.stdin.getWriter(), lines(other.stdout)];
  const theirs = async (): Promise<number[]> => {
    await asking.write(new TextEncoder().encode("\n"));
    const { value } = await answers.next();
    if (value === undefined) throw new Error("the PyTorch loop ended without a word");
    return SECONDS.parse(JSON.parse(value));
  };
  // The first round warms both up.
  const ratios: number[] = [], times: [number, number][] = [];
  for (let round = 0; round <= rounds; round++) {
    const [here, there] = [median(await own(model, images, iterations)), median(await theirs())];
    if (round === 0) continue;
    times.push([here, there]);
    ratios.push(there / here);
    console.log(`round ${round}: ${here.toFixed(3)} s an iteration, in PyTorch ${there.toFixed(3)} s`);
  }
  await asking.close();
  await other.status;
  const [here, there] = [0, 1].map((k) => median(times.map((pair) => pair[k]!))) as [number, number];
  const ratio = median(ratios), passed = ratio >= LEAST;
  console.log(
    `${IMAGES} images, T = ${langevin.steps}, ${threads} threads: ${here.toFixed(3)} s an iteration, in PyTorch ` +
      `${there.toFixed(3)} s: ${ratio.toFixed(1)}× (≥ ${LEAST}: ${passed ? "pass" : "FAIL"})`,
  );
  return passed ? 0 : 1;
}

async function* lines(stream: ReadableStream<Uint8Array<ArrayBuffer>>): AsyncGenerator<string> {
  let rest = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    const parts = (rest + text).split("\n");
    rest = parts.pop() ?? "";
    yield* parts;
  }
}
