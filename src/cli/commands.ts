/** The commands and their options. */
import type { Command, OptionValues } from "commander";
import { LIBRARY_VERSION } from "../coopflow/version.ts";
import { imageSize, listOf, oneOf, PROFILED_ITERATIONS, wholeNumber } from "./options.ts";

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
      .option("--device <name>", "auto or cpu", oneOf("auto", "cpu"), "auto")
      .option("--threads <n>", "threads; 0 = one per physical core", wholeNumber(0, 1024));

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
        .option("--preset <name>", "digits, small or paper", oneOf("digits", "small", "paper"))
        .option("--config <file>", "JSON configuration, over the preset (or the reference's defaults)")
        .option("--set <path=value>", "set one field of the configuration; may be repeated", listOf, [])
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

  devices(
    define("sample", "Draw images from a trained model", "deno task sample runs/digits-1 --count 64 --out digits.png")
      .argument("<run>", "run directory, or a checkpoint file")
      .requiredOption("--count <n>", "how many images", FIRST_COUNT)
      .requiredOption("--out <path>", "folder, FILE.png (one picture of all) or FILE.safetensors")
      .option("--seed <n>", "seed (default: the run's)", SEED)
      .option("--grid", "in a folder: also grid.png with proposals | revised images")
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
      .option("--no-winograd", "direct 3×3 convolutions instead of Winograd's algorithm"),
  )
    .option(
      "--profile [file]",
      "also print on standard error where the time of one iteration goes, by layer and by operation, and write its " +
        "timeline as a Chrome trace (default: coopflow-CONFIG-BATCH.trace.json)",
    )
    .option("--json [file]", "one line of JSON instead of the text; with FILE: written there, beside the text")
    .action(async (options: OptionValues) => done(await (await import("./bench.ts")).benchCommand(options)));

  define("parity", "Compare with tensors made by the reference program", "deno task parity golden --only flow langevin")
    .argument("<dir>", "folder of golden tensors")
    .option("--only <name...>", "compare these cases alone")
    .option("--threads <n>", "threads; 0 = one per physical core", wholeNumber(0, 1024))
    .action(async (dir: string, options: OptionValues) =>
      done(await (await import("./parity_command.ts")).parityCommand(dir, options))
    );
  return program;
}
