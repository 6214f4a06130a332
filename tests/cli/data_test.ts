import { existsSync } from "node:fs";
import sharp from "sharp";
import { describe, it } from "@std/testing/bdd";
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { idx, npy, pixels } from "../data/files.ts";
import { namesIn, withFolder } from "../io/support.ts";
import { TINY } from "../coopflow/support.ts";
import { type Ended, run } from "./support.ts";

/** The tiny networks without a word about the data. */
const NETWORKS = { ...TINY, data: {}, training: { ...TINY.training, iterations: 1 } };

/** Writes `networks.json`, and pictures of noise to `set/`, one of them 1×1. */
async function pictureFiles(folder: string, count: number, size: number): Promise<void> {
  await Deno.writeTextFile(`${folder}/networks.json`, JSON.stringify(NETWORKS));
  await Deno.mkdir(`${folder}/set`);
  for (let i = 0; i < count; i++) {
    const data = pixels(1, size * size * 3).map((value) => (value + 31 * i) % 256);
    const raw = { width: size, height: size, channels: 3 } as const;
    await Deno.writeFile(`${folder}/set/${i}.png`, await sharp(data, { raw }).png().toBuffer());
  }
  const dot = await sharp(new Uint8Array(3), { raw: { width: 1, height: 1, channels: 3 } }).png().toBuffer();
  await Deno.writeFile(`${folder}/set/dot.png`, dot);
}

const train = (folder: string, ...args: string[]): Promise<Ended> =>
  run(folder, ["train", "--config", "networks.json", "--threads", "1", ...args], { COOPFLOW_CACHE: `${folder}/cache` });

async function configOf(run: string): Promise<{ data: Record<string, unknown> }> {
  return JSON.parse(await Deno.readTextFile(`${run}/config.json`));
}

describe("data", () => {
  it("describes a data set and draws its first images", async () => {
    await withFolder(async (folder) => {
      await pictureFiles(folder, 3, 16);
      const env = { COOPFLOW_CACHE: "" };
      const { code, out, err } = await run(folder, ["data", "set", "--size", "8", "--grid", "grid.png"], env);
      assertEquals([code, err], [0, ""]);
      assertStringIncludes(out, "pictures: 3 images of 8×8×3");
      assertStringIncludes(out, "training: 3 images of 8×8×3, 256 levels; values ");
      assertStringIncludes(out, "files that can't be used: 1\n  dot.png: too small: 1×1, expected at least 8×8\n");
      assertEquals((await sharp(`${folder}/grid.png`).metadata()).format, "png");

      const json = await run(folder, ["data", "set", "--size", "8x4", "--json"], env);
      const found = JSON.parse(json.out);
      assertEquals([found.format, found.training.count, found.training.height, found.training.width], [
        "pictures",
        3,
        8,
        4,
      ]);
      assertEquals(found.training.histogram.reduce((a: number, b: number) => a + b), 3 * 8 * 4 * 3);
      assertEquals(found.unusable, [{ path: "dot.png", reason: "too small: 1×1, expected at least 8×4" }]);

      const strict = await run(folder, ["data", "set", "--size", "8", "--strict"], env);
      assertEquals(strict.code, 1);
      assertStringIncludes(strict.out, "dot.png");
      assertStringIncludes(strict.err, "coopflow: --strict: expected every file of set to be usable, found 1");
    });
  });

  it("compares a size with what can't be made smaller", async () => {
    await withFolder(async (folder) => {
      await Deno.writeFile(`${folder}/set`, idx([2, 4, 4], pixels(2, 16)));
      const { code, err } = await run(folder, ["data", "set", "--size", "8"]);
      assertEquals([code, err], [1, "coopflow: --size: expected images of 8×8, found 4×4 in set\n"]);
      const crop = await run(folder, ["data", "set", "--crop", "2"]);
      assertEquals([crop.code, crop.err.includes("crop: expected a folder of pictures")], [2, true]);
    });
  });

  it("reports a disk that fills up, and leaves what was there", { ignore: Deno.build.os !== "linux" }, async () => {
    await withFolder(async (folder) => {
      await pictureFiles(folder, 40, 32);
      await Deno.mkdir(`${folder}/cache`);
      await Deno.writeTextFile(`${folder}/cache/old`, "old");
      const main = new URL("../../src/cli/main.ts", import.meta.url).pathname;
      const config = new URL("../../deno.json", import.meta.url).pathname;
      // Files of at most 64 KiB, half of what the pictures need; without the signal, the system says so.
      const script =
        `trap '' XFSZ; ulimit -f 64; exec '${Deno.execPath()}' run -A --no-check --config '${config}' '${main}' data set`;
      const { code, stderr } = await new Deno.Command("bash", {
        args: ["-c", script],
        cwd: folder,
        env: { NO_COLOR: "1", COOPFLOW_CACHE: `${folder}/cache` },
      }).output();
      const err = new TextDecoder().decode(stderr);
      assertEquals(code, 1, err);
      assertStringIncludes(err, `coopflow: cannot write ${folder}/cache/pictures-`);
      assertStringIncludes(err, "make room, or set COOPFLOW_CACHE to another folder");
      assertEquals(err.trim().split("\n").length, 1);
      assertEquals(namesIn(`${folder}/cache`), ["old"]);
    });
  });
});

describe("train, with data", () => {
  it("takes the images' size from the data, or refuses what the configuration says otherwise", async () => {
    await withFolder(async (folder) => {
      await Deno.writeTextFile(`${folder}/networks.json`, JSON.stringify(NETWORKS));
      await Deno.writeFile(`${folder}/set.npy`, npy("|u1", [12, 8, 4], pixels(12, 32, 9)));
      const done = await train(folder, "--data", "set.npy", "--out", "run", "--set", "data.levels=9");
      assertEquals(done.code, 0, done.err);
      assertStringIncludes(done.out, "data: NumPy array: 12 images of 8×4×1 in NHW, 9 levels (U8)");
      const { data } = await configOf(`${folder}/run`);
      assertEquals([data["height"], data["width"], data["channels"], data["levels"]], [8, 4, 1, 9]);

      // The built-in digits' size has no say in what other data allow.
      const deep = [
        "train",
        "--data",
        "set.npy",
        "--iterations",
        "1",
        "--out",
        "deep",
        "--set",
        "flow.scales=[[0,1],[0,1],[0,1],[0,1]]",
      ];
      const { err } = await run(folder, deep);
      assertStringIncludes(err, "data.height: expected a multiple of 16 for 4 scales, found 8");
      await Deno.writeFile(`${folder}/wide.npy`, npy("|u1", [8, 16, 16], pixels(8, 256)));
      const wide = await run(folder, [...deep, "--data", "wide.npy", "--batch", "2", "--set", "langevin.steps=1"]);
      assertEquals(wide.code, 0, wide.err);

      const wrong = await train(folder, "--data", "set.npy", "--out", "other", "--set", "data.height=4");
      assertEquals(wrong.code, 1);
      assertStringIncludes(wrong.err, "data.height: expected 4 as configured, found 8 in set.npy");
      assertEquals(namesIn(folder).includes("other"), false);
    });
  });

  it("makes pictures the wanted size, mirrors them, and reads them the same way when it goes on", async () => {
    await withFolder(async (folder) => {
      await pictureFiles(folder, 6, 12);
      const first = await train(folder, "--data", "set", "--size", "4", "--crop", "8", "--flip", "--out", "run");
      assertEquals(first.code, 0, first.err);
      assertStringIncludes(first.out, "1 file can't be used: dot.png (too small: 1×1, expected at least 8×8)");
      const { data } = await configOf(`${folder}/run`);
      assertEquals([data["height"], data["width"], data["channels"], data["flip"]], [4, 4, 3, true]);
      const line = (await Deno.readTextFile(`${folder}/run/metrics.jsonl`)).trim();
      assert(JSON.parse(line).dataSeconds >= 0);

      const resume = ["train", "--resume", "run", "--iterations"];
      const more = await run(folder, [...resume, "2"], { COOPFLOW_CACHE: `${folder}/cache` });
      assertEquals(more.code, 0, more.err);
      assertStringIncludes(more.out, "a centre square of 8");
      assertEquals(more.out.includes("other images than before"), false);

      await Deno.remove(`${folder}/set/0.png`);
      const changed = await run(folder, [...resume, "3"], { COOPFLOW_CACHE: "" });
      assertEquals(changed.code, 0, changed.err);
      assertStringIncludes(changed.out, "data: other images than before");

      const strict = await train(folder, "--data", "set", "--size", "4", "--strict", "--out", "strict");
      assertEquals([strict.code, namesIn(folder).includes("strict")], [1, false]);
      assertStringIncludes(strict.err, "set: 1 file can't be used: dot.png");
    });
  });
});

const SHARED = new URL("../../../shared/data/", import.meta.url);
const PATHS = ["digits.safetensors", "folder", "photos-cifar10-format", "photos-svhn-format"];

describe("the data that users have", () => {
  const ignore = !existsSync(SHARED);
  for (const name of PATHS) {
    it(`${name} can be described and trained on`, { ignore, reason: "needs ../shared/data" }, async () => {
      await withFolder(async (folder) => {
        await Deno.writeTextFile(`${folder}/networks.json`, JSON.stringify(NETWORKS));
        const path = new URL(name, SHARED).pathname;
        const env = { COOPFLOW_CACHE: `${folder}/cache` };
        const described = await run(folder, ["data", path, "--json"], env);
        assertEquals(described.code, 0, described.err);
        const { training, unusable } = JSON.parse(described.out);
        assert(training.count > 0);
        const expected: [string, RegExp][] = name !== "folder" ? [] : [
          ["empty.png", /^empty$/],
          ["not_a_picture.png", /^no PNG, JPEG or WebP picture$/],
          ["notes.txt", /^no PNG, JPEG or WebP picture$/],
          ["one_pixel.png", /^too small: 1×1/],
          ["truncated.jpg", /^broken: cut short/],
        ];
        assertEquals(unusable.map((file: { path: string }) => file.path), expected.map(([file]) => file));
        for (const [i, [, reason]] of expected.entries()) assert(reason.test(unusable[i].reason), unusable[i].reason);
        const trained = await train(folder, "--data", path, "--out", "run");
        assertEquals(trained.code, 0, trained.err);
        assertStringIncludes(trained.out, "iteration 1/1");
      });
    });
  }
});
