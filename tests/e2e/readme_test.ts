import { assertEquals, assertStringIncludes } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { fileURLToPath } from "node:url";
import { namesIn, withFolder } from "../io/support.ts";

const REPOSITORY = fileURLToPath(new URL("../..", import.meta.url));

/** Commands of the README's first screen, one per code block. */
async function commands(): Promise<string[]> {
  const text = await Deno.readTextFile(`${REPOSITORY}README.md`);
  return [...text.split("\n## ")[0]!.matchAll(/```sh\n([^`]*)```/g)].map((m) => m[1]!.trim());
}

describe("README", () => {
  it("begins with two commands: one trains, one runs the tests", async () => {
    assertEquals(await commands(), ["npx -y deno@2.9.6 task train", "npx -y deno@2.9.6 task test"]);
  });

  it("trains by its first command (shortened) and makes what it says", async () => {
    await withFolder(async (folder) => {
      const [train] = await commands();
      const [command, ...args] = train!.split(" ");
      const short = [
        "--iterations",
        "2",
        "--batch",
        "8",
        "--set",
        "training.initialisationImages=64",
        "--out",
        `${folder}/run`,
      ];
      const { code, stdout, stderr } = await new Deno.Command(command!, {
        args: [...args, ...short],
        cwd: REPOSITORY,
        env: { NO_COLOR: "1" },
      }).output();
      const text = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
      assertEquals(code, 0, text);
      assertStringIncludes(text, "pixel Fréchet distance");
      for (const name of ["checkpoints", "config.json", "metrics.jsonl", "samples"]) {
        assertEquals(namesIn(`${folder}/run`).includes(name), true, name);
      }
    });
  });

  it("names only commands and studies that are there", async () => {
    const text = await Deno.readTextFile(`${REPOSITORY}README.md`);
    const { tasks } = JSON.parse(await Deno.readTextFile(`${REPOSITORY}deno.json`));
    for (const [, task] of text.matchAll(/deno(?:@[\d.]+)? task ([a-z][a-z\d]*)/g)) {
      assertEquals(task! in tasks, true, task);
    }
  });
});
