/** The commands and their options. */
import type { Command, OptionValues } from "commander";
import { METRICS } from "../coopflow/metric_names.ts";
import { PRESET_NAMES } from "../coopflow/preset_names.ts";
import { DEFAULT_DENSITY, DENSITY_NAMES } from "../coopflow/toy2d/densities.ts";
import { LIBRARY_VERSION } from "../coopflow/version.ts";
import { UsageError } from "../errors.ts";
import { PRECISIONS } from "../runtime/precision.ts";
import {
  deviceName,
  imageSize,
  listOf,
  namesOf,
  oneOf,
  positiveNumber,
  PROFILED_ITERATIONS,
  wholeNumber,
} from "./options.ts";
import { INPAINT, INTERPOLATE, RECONSTRUCT, type SearchDefaults } from "./search_defaults.ts";

type Commander = typeof import("commander");

const FIRST_COUNT = wholeNumber(1);
const SEED = wholeNumber(0, 0xffffffff);

/**
 * Builds the parser.
 *
 * @param done receives the exit code of the command that ran
 */
export function createCommands({ Command }: Commander, done: (code: number) => void): Command {
  const program = new Command("coopflow");
  program
    .description("Learns to draw images by cooperation of a normalizing flow and an energy-based model (CoopFlow)")
    .version(LIBRARY_VERSION)
    .showSuggestionAfterError()
    .exitOverride()
    .configureOutput({ outputError: () => {} });

  const define = (name: string, description: string, example: string): Command => {
    const command = program.command(name).description(description);
    command.exitOverride().configureOutput({ outputError: () => {} }).allowExcessArguments(false);
    command.helpOption("-h, --help", "show this and an example");
    command.addHelpText("after", `\nExample:\n  ${example}`);
    return command;
  };
  const devices = (command: Command): Command =>
    command
      .option("--device <name>", "auto (a GPU if there is one), cpu, cuda or cuda:NUMBER", deviceName, "auto")
      .option(
        "--precision <name>",
        "float32, or on a GPU tf32 or bf16; auto: what is fastest there (default: the configuration's)",
        oneOf(...PRECISIONS),
      )
      .option("--threads <n>", "threads; 0 = one per physical core", wholeNumber(0, 1024));

  /** Adds an option that must be given. It is missed after unknown ones are refused: one of those may be this one, misspelt. */
  const needing = (command: Command, flags: string, description: string, parse?: (text: string) => number): Command => {
    if (parse === undefined) command.option(flags, description);
    else command.option(flags, description, parse);
    const name = command.options.at(-1)!.attributeName();
    return command.hook("preAction", (_, action) => {
      if (action.getOptionValue(name) !== undefined) return;
      throw new UsageError(`${flags}: expected this option, found it missing`);
    });
  };

  const reading = (command: Command): Command =>
    command
      .option("--size <size>", "pictures: make them N×N, or HxW (height×width; default: 32)", imageSize)
      .option(
        "--crop <n>",
        "pictures: first cut a centre square of this side (default: CelebA's aligned faces 140)",
        FIRST_COUNT,
      )
      .option("--background <colour>", "pictures: white, black or #rrggbb behind transparency (default: white)")
      .option("--strict", "fail if a file can't be used, instead of leaving it out");

  devices(
    reading(
      define(
        "train",
        "Learn from images; without options: handwritten digits",
        "deno task train --iterations 500 --out runs/first",
      )
        .option("--preset <name>", PRESET_NAMES.join(", "), oneOf(...PRESET_NAMES))
        .option("--config <file>", "JSON configuration, over the preset (or the reference's defaults)")
        .option("--set <path=value>", "set one field of the configuration; may be repeated", listOf)
        .option(
          "--phase <name>",
          "coop; flow: the flow alone, by maximum likelihood on data; ebm: the EBM alone (default: the preset's)",
          oneOf("coop", "flow", "ebm"),
        )
        .option("--init <run>", "begin with the networks of another run, or of a checkpoint file")
        .option("--data <path>", "file or folder of images, see data --help; without it the built-in digits")
        .option("--iterations <n>", "iterations in all", wholeNumber(1))
        .option("--batch <n>", "images per iteration", FIRST_COUNT)
        .option("--seed <n>", "seed of everything that is drawn", SEED)
        .option("--out <dir>", "run directory, new or empty (default: runs/NAME-N)")
        .option("--resume <dir>", "go on with a run, from its newest checkpoint")
        .option("--flip", "mirror images left to right with probability ½"),
    ),
  )
    .option(
      "--profile [file]",
      `measure ${PROFILED_ITERATIONS} iterations after the first, print on standard error where their time goes, by ` +
        "layer and by operation, write their timeline as a Chrome trace (default: trace.json in the run directory), go on",
    )
    .option("--json", "events as JSON lines on standard output")
    .option("--quiet", "print nothing but errors")
    .action(async (options: OptionValues) => done(await (await import("./train.ts")).trainCommand(options)));

  reading(
    define(
      "data",
      "Describe a data set: what it holds and what can't be used",
      "deno task data photos --size 32 --grid photos.png",
    )
      .argument(
        "<path>",
        "folder of pictures (PNG, JPEG, WebP); CIFAR-10 (folder or archive); SVHN (.mat); MNIST (IDX); .npy, .npz or .safetensors",
      ),
  )
    .option("--grid <file>", "write a picture of the first images")
    .option("--json", "one line of JSON, with the whole histogram")
    .action(async (path: string, options: OptionValues) =>
      done(await (await import("./data.ts")).dataCommand(path, options))
    );

  define(
    "runs",
    "List runs: state, last figures, time",
    "deno task runs experiments --json",
  )
    .argument("[dir]", "folder that is searched (default: runs)")
    .option("--json", "one line of JSON for each")
    .action(async (dir: string | undefined, options: OptionValues) =>
      done(await (await import("./runs.ts")).runsCommand(dir, options))
    );

  define(
    "report",
    "Write a run's page, or one that compares several runs",
    "deno task report runs/digits-1 runs/digits-2 --out comparison.html",
  )
    .argument("<run...>", "run directories")
    .option("--out <file>", "FILE.html (default: report.html in the run, comparison.html for several)")
    .action(async (runs: string[], options: OptionValues) =>
      done(await (await import("./report.ts")).reportCommand(runs, options))
    );

  devices(
    needing(
      needing(
        define(
          "sample",
          "Draw images from a trained model",
          "deno task sample runs/digits-1 --count 64 --out digits.png",
        )
          .argument("<run>", "run directory, or a checkpoint file"),
        "--count <n>",
        "how many images",
        FIRST_COUNT,
      ),
      "--out <path>",
      "folder, FILE.png (one picture of all) or FILE.safetensors; interrupted, the same command goes on where it stopped",
    )
      .option("--seed <n>", "seed (default: the run's)", SEED)
      .option("--steps <n>", "Langevin steps (default: as many as in training)", FIRST_COUNT)
      .option("--proposals", "the flow's proposals too, in a folder or beside the images in FILE.png")
      .option("--grid", "in a folder: also grid.png with proposals | revised images")
      .option("--trajectory", "the states of the Langevin chains: a row of FILE.png each, or FILE.apng, an animation")
      .option("--states <n>", "states of each chain in a picture of --trajectory (default: all, or 31)", wholeNumber(2))
      .option("--live-parameters", "the live parameters even if there are averaged ones"),
  )
    .action(async (run: string, options: OptionValues) =>
      done(await (await import("./sample.ts")).sampleCommand(run, options))
    );

  devices(
    define(
      "bench",
      "Measure time and memory of a learning iteration",
      "deno task bench --config digits --batch 64 --json",
    )
      .option("--config <name>", "digits, small or paper", oneOf("digits", "small", "paper"), "digits")
      .option("--batch <n>", "images per iteration", FIRST_COUNT, 64)
      .option("--steps <n>", "Langevin steps", FIRST_COUNT, 30)
      .option("--reps <n>", "repetitions, of which the median counts", FIRST_COUNT, 3)
      .option("--warmup <n>", "repetitions before, not counted", wholeNumber(0), 1)
      .option("--no-winograd", "direct 3×3 convolutions instead of Winograd's algorithm")
      .option("--recompute", "make the insides of coupling layers again in the backward pass (training.recompute)"),
  )
    .option(
      "--profile [file]",
      "also print on standard error where the time of one iteration goes, by layer and by operation, and write its " +
        "timeline as a Chrome trace (default: coopflow-CONFIG-BATCH.trace.json)",
    )
    .option("--json [file]", "one line of JSON instead of the text; with FILE: written there, beside the text")
    .action(async (options: OptionValues) => done(await (await import("./bench.ts")).benchCommand(options)));

  /** What the commands that search for the chain's start share. */
  const searches = (command: Command, { count, out, iterations, rate, decay }: SearchDefaults): Command =>
    devices(
      command
        .argument("<run>", "run directory, or a checkpoint file")
        .option("--data <path>", "data set; without it the built-in digits that are held out")
        .option("--count <n>", `how many of its images (default: ${count})`, FIRST_COUNT)
        .option("--out <file>", `FILE.png (one picture of all) or FILE.safetensors (default: ${out})`)
        .option("--iterations <n>", `steps of gradient descent (default: ${iterations})`, FIRST_COUNT)
        .option("--rate <x>", `size of the first step (default: ${rate})`, positiveNumber)
        .option("--decay <x>", `factor from each step to the next (default: ${decay})`, positiveNumber)
        .option("--seed <n>", "seed of the starts (default: the run's)", SEED)
        .option("--live-parameters", "the live parameters even if there are averaged ones"),
    );

  searches(
    define(
      "reconstruct",
      "Find where the Langevin flow has to start to end at given images",
      "deno task reconstruct runs/digits-1 --count 16 --out reconstructions.png",
    ),
    RECONSTRUCT,
  )
    .action(async (run: string, options: OptionValues) =>
      done(await (await import("./search.ts")).reconstructCommand(run, options))
    );

  searches(
    define(
      "inpaint",
      "Complete images of which a part is hidden",
      "deno task inpaint runs/digits-1 --mask 2,2,4,4 --completions 8 --out inpainted.png",
    ),
    INPAINT,
  )
    .option(
      "--mask <rectangle|file>",
      "X,Y,WIDTH,HEIGHT to hide, or a PNG whose bright pixels are (default: the middle)",
    )
    .option("--completions <n>", "completions of each image (default: 20)", FIRST_COUNT)
    .action(async (run: string, options: OptionValues) =>
      done(await (await import("./search.ts")).inpaintCommand(run, options))
    );

  searches(
    define(
      "interpolate",
      "Walk from image i to image i + count/2, or between random latents",
      "deno task interpolate runs/digits-1 --count 8 --out interpolations.png",
    ),
    INTERPOLATE,
  )
    .option("--points <n>", "images of a walk, both ends included (default: 21)", wholeNumber(2))
    .option("--path <name>", "linear or spherical (default: linear)", oneOf("linear", "spherical"))
    .option("--random <pairs>", "between this many pairs of random latents instead", FIRST_COUNT)
    .action(async (run: string, options: OptionValues) =>
      done(await (await import("./search.ts")).interpolateCommand(run, options))
    );

  /** What the commands that judge a model by images share. */
  const judging = (command: Command): Command =>
    devices(
      command
        .argument("<run>", "run directory, or a checkpoint file")
        .option("--seed <n>", "seed of what is drawn (default: the run's)", SEED)
        .option("--live-parameters", "the live parameters even if there are averaged ones")
        .option("--json", "one line of JSON on standard output instead of the text"),
    );

  judging(
    define(
      "density",
      "Score images: bits/dim under the flow, energy; tell data sets apart",
      "deno task density runs/digits-1 --draws 16 --against noise --against inverted",
    ),
  )
    .option("--data <path>", "data set; without it the built-in digits that are held out")
    .option("--count <n>", "how many of its images (default: all)", FIRST_COUNT)
    .option(
      "--draws <k>",
      "draws of the dequantization noise of each image, importance-weighted (default: 1)",
      FIRST_COUNT,
    )
    .option(
      "--against <path|noise|inverted>",
      "tell these images apart (AUROC): a data set, uniform noise, or the images inverted; may be repeated",
      listOf,
    )
    .option("--out <file.csv>", "each image's scores")
    .action(async (run: string, options: OptionValues) =>
      done(await (await import("./density.ts")).densityCommand(run, options))
    );

  judging(
    define(
      "evaluate",
      "Judge a model: bits/dim, distances to real images, energies, copies of training images, reconstruction",
      "deno task evaluate runs/digits-1",
    ),
  )
    .option("--data <path>", "data set; without it the built-in digits that are held out")
    .option("--real <n>", "how many of its images (default: all)", FIRST_COUNT)
    .option(
      "--count <n>",
      "generated images of each kind (default: as many as real ones, at least 1,000)",
      wholeNumber(2),
    )
    .option("--steps <n>", "Langevin steps that revise them (default: as many as in training)", FIRST_COUNT)
    .option("--metrics <names>", `some of ${METRICS.join(", ")}, with commas (default: all)`, namesOf(...METRICS))
    .option(
      "--features <digits|file.onnx>",
      "features beside the pixels: the built-in digit network, or a network of yours; may be repeated (default: digits' for digits)",
      listOf,
    )
    .option(
      "--value-range <range>",
      "what an ONNX network takes: 0..1, -1..1 or 0..255 (default: 0..1)",
      oneOf("0..1", "-1..1", "0..255"),
    )
    .option("--statistics <file.npz>", "real images' mu and sigma, as pytorch-fid saves them, for the Fréchet distance")
    .option(
      "--save-statistics <file.npz>",
      "write the real images' mu and sigma, of the features that --statistics is for",
    )
    .option("--report <file.html>", "a page with all figures, histograms and pictures")
    .option("--out <file.json>", "where results go (default: evaluation.json in the run)")
    .action(async (run: string, options: OptionValues) =>
      done(await (await import("./evaluate.ts")).evaluateCommand(run, options))
    );

  judging(
    define(
      "diagnose",
      "Check what a model has learnt: moment matching, learning, Langevin chains step by step",
      "deno task diagnose runs/digits-1 --steps 2000 --out chains.png",
    ),
  )
    .option("--data <path>", "data set that it learnt from; without it the built-in digits")
    .option("--count <n>", "how many of its images (default: all, or 1500)", FIRST_COUNT)
    .option("--chains <n>", "Langevin chains (default: 64)", FIRST_COUNT)
    .option("--steps <n>", "steps of each chain (default: 2000)", wholeNumber(1, 1_000_000))
    .option("--out <file.png>", "the states of some chains: a row each")
    .action(async (run: string, options: OptionValues) =>
      done(await (await import("./diagnose.ts")).diagnoseCommand(run, options))
    );

  define(
    "import",
    "Make a run of a checkpoint of the reference program",
    "deno task import cifar10.pth.tar runs/cifar10 --preset cifar10",
  )
    .argument("<file>", "FILE.pth.tar (or .pth, .pt) of torch.save, or FILE.safetensors with the reference's names")
    .argument("<run>", "run directory, new or empty")
    .option("--preset <name>", `${PRESET_NAMES.join(", ")} (default: read off the tensors)`, oneOf(...PRESET_NAMES))
    .option("--config <file>", "JSON configuration, over the preset")
    .option("--set <path=value>", "set one field of the configuration; may be repeated", listOf)
    .action(async (file: string, run: string, options: OptionValues) =>
      done(await (await import("./import.ts")).importCommand(file, run, options))
    );

  needing(
    define(
      "export",
      "Write a run's networks for the reference program",
      "deno task export runs/digits-1 --to digits.pth.tar",
    )
      .argument("<run>", "run directory, or a checkpoint file"),
    "--to <file>",
    "FILE.pth.tar or FILE.safetensors",
  )
    .option("--live-parameters", "the live parameters even if there are averaged ones")
    .option("--optimizers", "the optimizers' states too (.pth.tar)")
    .option("--data-parallel", "names begin with module., as the reference has them on GPUs (.pth.tar)")
    .option("--epoch <n>", "the epoch that the reference counts on from (.pth.tar)", wholeNumber(0))
    .action(async (run: string, options: OptionValues) =>
      done(await (await import("./export.ts")).exportCommand(run, options))
    );

  devices(
    define(
      "toy2d",
      "Learn a density of the plane and compare both networks with the truth",
      "deno task toy2d --density two-moons --out two-moons.png",
    )
      .option("--density <name>", DENSITY_NAMES.join(", "), oneOf(...DENSITY_NAMES), DEFAULT_DENSITY)
      .option("--noise-free", "Langevin chains without noise, as the reference's")
      .option("--iterations <n>", "learning iterations (default: 4000)", wholeNumber(1, 0xffffffff))
      .option("--samples <n>", "points that samples are judged by (default: 65536)", wholeNumber(1, 0xffffffff))
      .option("--seed <n>", "seed of everything that is drawn (default: 0)", SEED)
      .option(
        "--out <file.png>",
        "truth, points of it, the flow's density, the energy's, revised points, side by side",
      )
      .option("--json", "one line of JSON on standard output instead of the text"),
  )
    .action(async (options: OptionValues) => done(await (await import("./toy2d.ts")).toy2dCommand(options)));

  devices(
    define(
      "parity",
      "Compare with tensors made by the reference program",
      "deno task parity golden --only flow langevin",
    )
      .argument("<dir>", "folder of golden tensors")
      .option("--only <name...>", "compare these cases alone"),
  )
    .action(async (dir: string, options: OptionValues) =>
      done(await (await import("./parity_command.ts")).parityCommand(dir, options))
    );
  return program;
}
