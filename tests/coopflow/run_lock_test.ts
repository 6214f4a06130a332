import { describe, it } from "@std/testing/bdd";
import { assertEquals, assertRejects } from "@std/assert";
import { hostname } from "node:os";
import { acquireLock } from "../../src/coopflow/run_lock.ts";
import { CoopFlowError } from "../../src/errors.ts";
import { namesIn, withFolder } from "../io/support.ts";

describe("acquireLock", () => {
  it("is held once, and leaves nothing behind", async () => {
    await withFolder(async (folder) => {
      const lock = await acquireLock(`${folder}/lock`);
      await assertRejects(() => acquireLock(`${folder}/lock`), CoopFlowError, `in use by process ${Deno.pid}`);
      await lock.release();
      await lock.release();
      assertEquals(namesIn(folder), []);
      await (await acquireLock(`${folder}/lock`)).release();
    });
  });

  it("takes over from a process that is gone, from another with its number, and from half a file", async () => {
    await withFolder(async (folder) => {
      const path = `${folder}/lock`;
      const gone = await new Deno.Command(Deno.execPath(), { args: ["--version"], stdout: "null" }).spawn();
      await gone.status;
      const stale = [
        JSON.stringify({ pid: gone.pid, started: "1", host: hostname() }),
        JSON.stringify({ pid: Deno.pid, started: "1", host: hostname() }),
        '{"pid":',
      ];
      for (const text of stale) {
        await Deno.writeTextFile(path, text);
        await (await acquireLock(path)).release();
      }
    });
  });

  it("does not take over from another machine", async () => {
    await withFolder(async (folder) => {
      await Deno.writeTextFile(`${folder}/lock`, JSON.stringify({ pid: 1, started: "1", host: "elsewhere.example" }));
      await assertRejects(() => acquireLock(`${folder}/lock`), CoopFlowError, "on elsewhere.example");
    });
  });
});
