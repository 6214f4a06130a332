import { describe, it } from "@std/testing/bdd";
import { assertEquals, assertMatch } from "@std/assert";
import { fileURLToPath } from "node:url";
import { withFolder } from "../io/support.ts";

const REPOSITORY = fileURLToPath(new URL("../..", import.meta.url));

/** Runs a module without any permission. */
async function evaluate(text: string): Promise<{ code: number; out: string; err: string }> {
  const result = { code: -1, out: "", err: "" };
  await withFolder(async (folder) => {
    await Deno.writeTextFile(`${folder}/main.ts`, text);
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-prompt", "--no-check", "--config", `${REPOSITORY}deno.json`, `${folder}/main.ts`],
      env: { NO_COLOR: "1" },
      stdin: "null",
    }).output();
    Object.assign(result, { code, out: new TextDecoder().decode(stdout), err: new TextDecoder().decode(stderr) });
  });
  return result;
}

describe("mod.ts", () => {
  it("imports without any permission, and can parse a configuration", async () => {
    const { code, out, err } = await evaluate(`
      import { parseConfig, presets } from "file://${REPOSITORY}mod.ts";
      console.log(parseConfig(presets.digits).data.levels);
    `);
    assertEquals([code, out], [0, "17\n"], err);
  });

  it("asks for the permission to open the native library only when a model is made", async () => {
    const { code, err } = await evaluate(`
      import { CoopFlow, presets } from "file://${REPOSITORY}mod.ts";
      await CoopFlow.create(presets.digits);
    `);
    assertEquals(code, 1);
    assertMatch(err, /NotCapable/);
  });
});
