/**
 * `deno task study scaling [AXIS…] [--json FILE]`: whether time grows as the work does, over batch, image, T, K and threads. Some minutes.
 * AXIS: batch, image, T, K, threads; without any, all of them.
 */
import { type CoopFlowConfigInput, parseConfig } from "../../src/coopflow/config.ts";
import { presets } from "../../src/coopflow/presets.ts";
import { type Measurable, MeasuredModel } from "../../src/cli/measured.ts";
import { measurePeaks } from "../../src/cli/profile/peaks.ts";
import { median, textTable } from "../../src/cli/text_table.ts";
import { logSlope } from "../support/log_slope.ts";

/** How often everything is run: each size as often as the others, because the least of more runs is less. */
const ROUNDS = 8;
const REPS = 2;
const SLOPE: readonly [least: number, most: number] = [0.95, 1.05];
const SPEED_UP = 1.85;

interface Axis {
  readonly name: string;
  readonly program: Measurable;
  readonly sizes: readonly number[];
  readonly config: (size: number) => CoopFlowConfigInput;
}

const { digits, small, paper } = presets;
/** A preset with a batch, and a chain short enough that the flow's part of an iteration counts too. */
const setting = ({ data, flow, energy }: typeof small, batch: number, steps = 5): CoopFlowConfigInput => ({
  data: { ...data, flip: false, levels: 256 },
  flow,
  energy,
  langevin: { steps },
  training: { batch, initialisationImages: batch },
});

const AXES: readonly Axis[] = [
  {
    name: "batch",
    program: "learn",
    sizes: [1, 2, 4, 8, 16, 32, 64],
    config: (batch) => setting(small, batch),
  },
  {
    name: "image",
    program: "learn",
    sizes: [8, 16, 32, 64],
    config: (size) => ({ ...setting(small, 4), data: { ...small.data, height: size, width: size } }),
  },
  {
    name: "T",
    program: "langevin",
    sizes: [1, 2, 5, 10, 20, 50, 100, 200],
    config: (steps) => setting(small, 4, steps),
  },
  {
    name: "K",
    program: "flow_update",
    sizes: [1, 2, 4, 8, 16, 32],
    // Coupling networks without blocks, so that K has a share of the work.
    // Direct convolutions only: with K more of them would go by Winograd, which count as direct ones, so that time would grow slower than what is counted.
    config: (components) => ({
      ...setting(small, 64),
      compute: { winograd: false },
      flow: { ...small.flow, blocks: 0, dequantization: "uniform", components },
    }),
  },
];

const THREADS: readonly [name: string, config: CoopFlowConfigInput][] = [
  ["digits, 64", setting(digits, 64, 30)],
  ["small, 16", setting(small, 16, 30)],
  ["paper, 4", setting(paper, 4, 30)],
];

/**
 * The least of each model's seconds, by round: all models run in turn, so that a slow phase of the machine meets them alike. The least counts, because
 * what else the machine does only ever adds.
 */
async function inTurn(models: readonly MeasuredModel[], program: Measurable): Promise<number[][]> {
  const rounds: number[][] = [];
  for (const model of models) await model.times(program, { warmup: 0, reps: 1 });
  for (let round = 0; round < ROUNDS; round++) {
    const least: number[] = [];
    for (const model of models) {
      // A run of its own first: what the others left in the caches is not its cost.
      least.push(Math.min(...await model.times(program, { warmup: 1, reps: REPS })));
    }
    rounds.push(least);
  }
  return rounds;
}

async function opened<T>(
  settings: readonly { readonly config: CoopFlowConfigInput; readonly threads: number }[],
  body: (models: readonly MeasuredModel[]) => Promise<T>,
): Promise<T> {
  const models: MeasuredModel[] = [];
  try {
    for (const { config, threads } of settings) {
      models.push(await MeasuredModel.open(parseConfig(config), { threads }));
    }
    return await body(models);
  } finally {
    for (const model of models) model.close();
  }
}

async function measureAxis({ name, program, sizes, config }: Axis) {
  const { points, slope } = await opened(
    sizes.map((size) => ({ config: config(size), threads: 0 })),
    async (models) => {
      const flops: number[] = [];
      for (const model of models) flops.push((await model.program(program)).info.flops);
      const rounds = await inTurn(models, program);
      const pointsOf = (seconds: readonly number[]) =>
        sizes.map((size, i) => ({ size, flops: flops[i]!, seconds: seconds[i]! }));
      // What a run costs whatever its size still shows in the smallest third. Sizes are compared within a round, because the speed of a shared machine drifts.
      const slopes = rounds.map((seconds) => logSlope(pointsOf(seconds).slice(Math.floor(sizes.length / 3))));
      const least = sizes.map((_, i) => Math.min(...rounds.map((seconds) => seconds[i]!)));
      return { points: pointsOf(least), slope: median(slopes) };
    },
  );
  return { axis: name, program, points, slope, passed: slope >= SLOPE[0] && slope <= SLOPE[1] };
}

/** How much faster two threads multiply matrices that lie in the caches than one does: what the machine itself allows. */
async function productSpeedUp(): Promise<number> {
  const { gemm, gemmOneThread } = await measurePeaks({}, { threads: 2 });
  return gemm / gemmOneThread;
}

async function measureThreads() {
  const results = [];
  const products = [await productSpeedUp()];
  for (const [name, config] of THREADS) {
    const rounds = await opened(
      [1, 2].map((threads) => ({ config, threads })),
      (models) => inTurn(models, "learn"),
    );
    const seconds = [0, 1].map((i) => median(rounds.map((round) => round[i]!)));
    // Neighbours in time are compared, because the speed of a shared machine drifts.
    const speedUp = median(rounds.map(([one, two]) => one! / two!));
    results.push({ name, seconds, speedUp, passed: speedUp >= SPEED_UP });
    products.push(await productSpeedUp());
  }
  return { results, products };
}

const verdict = (passed: boolean): string => passed ? "pass" : "FAIL";

export async function main(args: readonly string[]): Promise<number> {
  const at = args.indexOf("--json");
  const file = at < 0 ? undefined : args[at + 1];
  const names = args.filter((_, i) => at < 0 || (i !== at && i !== at + 1));
  const known = [...AXES.map(({ name }) => name), "threads"];
  const unknown = names.find((name) => !known.includes(name));
  if (unknown !== undefined || (at >= 0 && file === undefined)) {
    console.error(
      unknown === undefined
        ? "scaling: --json: expected a file, found nothing"
        : `scaling: expected some of ${known.join(", ")}, found ${JSON.stringify(unknown)}`,
    );
    return 2;
  }
  const wanted = (name: string): boolean => names.length === 0 || names.includes(name);
  const axes = [];
  for (const axis of AXES.filter(({ name }) => wanted(name))) {
    const result = await measureAxis(axis);
    axes.push(result);
    const rows = result.points.map(({ size, flops, seconds }) => [
      String(size),
      (flops / 1e9).toPrecision(4),
      seconds.toPrecision(4),
      (flops / seconds / 1e9).toFixed(1),
    ]);
    for (const line of textTable([axis.name, "GFLOP", "seconds", "GFLOP/s"], rows)) console.log(line);
    console.log(
      `${axis.program}: slope ${result.slope.toFixed(3)} above the smallest third ` +
        `(${SLOPE[0]} to ${SLOPE[1]}: ${verdict(result.passed)})\n`,
    );
  }
  const threads = wanted("threads") ? await measureThreads() : undefined;
  if (threads) {
    const rows = threads.results.map(({ name, seconds, speedUp, passed }) => [
      name,
      ...seconds.map((value) => value.toPrecision(4)),
      `${speedUp.toFixed(2)}× (≥ ${SPEED_UP}: ${verdict(passed)})`,
    ]);
    for (const line of textTable(["an iteration", "1 thread, s", "2 threads, s", ""], rows)) console.log(line);
    const between = threads.products.map((value) => `${value.toFixed(2)}×`).join(", ");
    console.log(`matrix products in the caches, before, between and after: ${between}`);
  }
  if (file !== undefined) {
    const date = new Date().toISOString().slice(0, 10);
    await Deno.writeTextFile(file, `${JSON.stringify({ date, axes, threads }, null, 2)}\n`);
  }
  return 0;
}
