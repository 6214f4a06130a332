import { describe, it } from "@std/testing/bdd";
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { CancelledError, CoopFlowError, DataError } from "../../src/errors.ts";
import { openDataset, type OpenedDataset } from "../../src/data/open.ts";
import { namesIn, withFolder } from "../io/support.ts";
import { assertNear, BLUE, halves, pixel, RED, SIZE } from "./pictures.ts";

describe("the cache of decoded pictures", () => {
  /** Opens a folder with one red picture and a broken one, its cache beside it. */
  async function withCache(body: (open: () => Promise<OpenedDataset>, folder: string) => Promise<void>): Promise<void> {
    await withFolder(async (folder) => {
      await Deno.mkdir(`${folder}/set`);
      await Deno.writeFile(`${folder}/set/a.png`, await halves(RED, RED).png().toBuffer());
      await Deno.writeFile(`${folder}/set/empty.png`, new Uint8Array(0));
      await Deno.writeFile(`${folder}/set/small.png`, await halves(RED, RED, 1, 1).png().toBuffer());
      await body(() => openDataset(`${folder}/set`, { height: SIZE, cache: `${folder}/cache` }), folder);
    });
  }

  const age = async (path: string): Promise<number | undefined> => (await Deno.stat(path)).mtime?.getTime();

  it("is made once, and gives the same images and reasons", async () => {
    await withCache(async (open, folder) => {
      using first = await open();
      const [name = ""] = namesIn(`${folder}/cache`);
      await Deno.utime(`${folder}/cache/${name}`, 1, 1);
      using second = await open();
      assertEquals(await age(`${folder}/cache/${name}`), 1000);
      assertEquals(second.unusable, first.unusable);
      assertEquals(second.unusable.length, 2);
      assertNear(pixel(second.train, 0, "left"), RED);
      assertNear(pixel(first.train, 0, "left"), RED);
    });
  });

  it("is another one for other pictures, names or sizes", async () => {
    await withCache(async (open, folder) => {
      (await open()).close();
      await Deno.writeFile(`${folder}/set/a.png`, await halves(BLUE, BLUE).png().toBuffer());
      using changed = await open();
      assertNear(pixel(changed.train, 0, "left"), BLUE);
      await Deno.rename(`${folder}/set/a.png`, `${folder}/set/z.png`);
      (await open()).close();
      (await openDataset(`${folder}/set`, { height: 4, cache: `${folder}/cache` })).close();
      assertEquals(namesIn(`${folder}/cache`).length, 4);
    });
  });

  it("is made again if it was cut short or damaged", async () => {
    await withCache(async (open, folder) => {
      (await open()).close();
      const path = `${folder}/cache/${namesIn(`${folder}/cache`)[0]}`;
      const whole = await Deno.readFile(path);
      for (const bytes of [new Uint8Array(0), whole.subarray(1), whole.subarray(0, -1), new Uint8Array(500)]) {
        await Deno.writeFile(path, bytes);
        using opened = await open();
        assertNear(pixel(opened.train, 0, "left"), RED);
        assertEquals(await Deno.readFile(path), whole);
      }
    });
  });

  it("is cleared of what was left behind long ago", async () => {
    await withCache(async (open, folder) => {
      await Deno.mkdir(`${folder}/cache`);
      for (const [name, seconds] of [[".pictures-x.1-1.tmp", 1], [".pictures-y.1-1.tmp", Date.now() / 1000]] as const) {
        await Deno.writeFile(`${folder}/cache/${name}`, new Uint8Array(1));
        await Deno.utime(`${folder}/cache/${name}`, seconds, seconds);
      }
      (await open()).close();
      const left = namesIn(`${folder}/cache`).filter((name) => name.endsWith(".tmp"));
      assertEquals(left, [".pictures-y.1-1.tmp"]);
    });
  });

  it("says what to do if it can't be written", async () => {
    await withCache(async (_, folder) => {
      await Deno.writeFile(`${folder}/file`, new Uint8Array(1));
      const error = await assertRejects(
        () => openDataset(`${folder}/set`, { height: SIZE, cache: `${folder}/file/cache` }),
        CoopFlowError,
        "or set COOPFLOW_CACHE to another folder, or to nothing to keep the images in memory",
      );
      assert(error.message.startsWith(`cannot write ${folder}/file/cache: `), error.message);
    });
  });

  it("leaves nothing behind when it is cancelled", async () => {
    await withCache(async (_, folder) => {
      const controller = new AbortController();
      const opening = openDataset(`${folder}/set`, {
        height: SIZE,
        cache: `${folder}/cache`,
        signal: controller.signal,
        progress: () => controller.abort(),
      });
      await assertRejects(() => opening, CancelledError);
      assertEquals(namesIn(`${folder}/cache`), []);
    });
  });

  it("is read no more once it is closed", async () => {
    await withCache(async (open) => {
      const opened = await open();
      opened.close();
      opened.close();
      assert(opened.train.count === 1);
      let message = "";
      try {
        pixel(opened.train, 0, "left");
      } catch (error) {
        message = error instanceof DataError ? error.message : String(error);
      }
      assertStringIncludes(message, "expected an open data set, found a closed one");
    });
  });
});
