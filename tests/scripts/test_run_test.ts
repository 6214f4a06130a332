import { assertEquals, assertMatch } from "@std/assert";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { join } from "node:path";
import { type CaseResult, countCases, type FileResult, formatTotals } from "../../scripts/support/test_results.ts";
import { runTestFiles } from "../../scripts/support/test_run.ts";
import { checkTypes } from "../../scripts/support/type_check.ts";

const ADAPTERS = new URL("../support/std/", import.meta.url).href;
const BDD = 'import { afterAll, afterEach, beforeAll, beforeEach, describe, it } from "@std/testing/bdd";\n';

const CRASHING = `${BDD}
    it("before", () => {});
    it("reads address 8", () => { new Deno.UnsafePointerView(Deno.UnsafePointer.create(8n)!).getUint8(); });
    it("after", () => {});`;

const FILES: Readonly<Record<string, string>> = {
  "hooks_test.ts": `${BDD}
    const log: string[] = [];
    describe("outer", () => {
      beforeAll(() => { log.push("A"); });
      afterAll(() => { log.push("Z"); });
      beforeEach(() => { log.push("b1"); });
      afterEach(() => { log.push("e1"); });
      it("first", () => { log.push("first"); });
      describe("inner", () => {
        beforeEach(() => { log.push("b2"); });
        afterEach(() => { log.push("e2"); });
        it("second", async () => { await Promise.resolve(); log.push("second"); });
      });
    });
    it("order", () => {
      const found = log.join(" ");
      if (found !== "A b1 first e1 b1 b2 second e2 e1 Z") throw new Error(found);
    });`,
  "failing_test.ts": `${BDD}
    describe("suite", () => {
      it("fails", () => { throw new Error("on purpose", { cause: new Error("deeper") }); });
      it("has a failing step", async (t) => { await t.step("step", () => { throw new Error("step"); }); });
      it.skip("left out", () => {});
      it("left out for a reason", { ignore: true, reason: "no GPU" }, () => {});
    });
    describe("before", () => { beforeAll(() => { throw new Error("no"); }); it("x", () => {}); it("y", () => {}); });
    describe("after", () => { afterAll(() => { throw new Error("no"); }); it("x", () => {}); });
    describe.skip("skipped", () => { beforeAll(() => { throw new Error("no"); }); it("x", () => {}); });`,
  "leaking_test.ts": `${BDD}
    describe("leaks", () => { it("a file", () => { Deno.openSync(import.meta.filename!); }); });
    describe("may leak", () => {
      it("a file", { sanitizeResources: false }, () => { Deno.openSync(import.meta.filename!); });
    });
    describe("balanced", () => {
      let file: Deno.FsFile;
      beforeAll(() => { file = Deno.openSync(import.meta.filename!); });
      afterAll(() => { file.close(); });
      it("x", () => {});
    });`,
  "crashing_test.ts": CRASHING,
  "slowly_crashing_test.ts": CRASHING,
  "unloadable_test.ts": `${BDD} import "./nothing.ts"; it("never", () => {});`,
  "throwing_test.ts": `${BDD} it("never", () => {}); throw new Error("while loading");`,
  "dangling_test.ts": `${BDD}
    it("dangles", async () => {
      setTimeout(() => { throw new Error("later"); }, 1);
      await new Promise((resolve) => setTimeout(resolve, 100));
    });`,
  "foreign_test.ts": 'Deno.test("x", () => {});',
  "ill_typed_test.ts": `${BDD} const x: string = 1; it("x", () => { console.log(x); });`,
  "last_test.ts": `${BDD} it("still runs", () => {});`,
};

describe("runTestFiles", () => {
  let root = "";

  beforeAll(async () => {
    root = await Deno.makeTempDir({ prefix: "coopflow-fixture-" });
    const imports = { "@std/testing/bdd": `${ADAPTERS}bdd.ts` };
    await Deno.writeTextFile(join(root, "deno.json"), JSON.stringify({ imports }));
    for (const [name, text] of Object.entries(FILES)) await Deno.writeTextFile(join(root, name), text);
  });
  afterAll(async () => await Deno.remove(root, { recursive: true }));

  async function run(files: readonly string[], filter?: string): Promise<FileResult[]> {
    return await runTestFiles({ root, files, ...(filter === undefined ? {} : { filter }) });
  }

  async function casesOf(file: string, filter?: string): Promise<readonly CaseResult[]> {
    const [result, ...more] = await run([file], filter);
    assertEquals(more, []);
    assertEquals(result?.file, file);
    return result?.cases ?? [];
  }

  function statuses(cases: readonly CaseResult[]): string[] {
    return cases.map(({ name, status }) => `${status} ${name}`);
  }

  it("counts nested cases and runs hooks in order", async () => {
    const cases = await casesOf("hooks_test.ts");
    assertEquals(statuses(cases), ["passed outer > first", "passed outer > inner > second", "passed order"]);
  });

  it("runs only what the filter selects", async () => {
    assertEquals(statuses(await casesOf("hooks_test.ts", "inner")), ["passed outer > inner > second"]);
    assertEquals(statuses(await casesOf("hooks_test.ts", "/^outer > f/")), ["passed outer > first"]);
    assertEquals(await casesOf("hooks_test.ts", "no such case"), []);
  });

  it("reports failures with their causes, skips with their reasons, and hooks that throw", async () => {
    const cases = await casesOf("failing_test.ts");
    assertEquals(statuses(cases), [
      "failed suite > fails",
      "failed suite > has a failing step",
      "skipped suite > left out",
      "skipped suite > left out for a reason",
      "failed before > x",
      "failed before > y",
      "passed after > x",
      "skipped skipped > x",
      "failed after",
    ]);
    assertMatch(cases[0]?.detail ?? "", /on purpose[\s\S]*caused by: Error: deeper/);
    assertEquals(cases[3]?.detail, "no GPU");
    assertMatch(cases[4]?.detail ?? "", /beforeAll of "before" failed/);
    assertEquals(formatTotals(countCases(cases)), "1 passed, 5 failed, 3 skipped");
  });

  it("counts a leak as a failure of its describe", async () => {
    const cases = await casesOf("leaking_test.ts");
    assertEquals(statuses(cases), [
      "passed leaks > a file",
      "passed may leak > a file",
      "passed balanced > x",
      "failed leaks",
    ]);
    assertMatch(cases[3]?.detail ?? "", /A file was opened/);
  });

  it("survives a crash: what had not run fails, other files still run", async () => {
    const results = await run(["crashing_test.ts", "last_test.ts"]);
    assertEquals(results.map(({ file, cases }) => [file, ...statuses(cases)]), [
      ["crashing_test.ts", "passed before", "failed reads address 8", "failed after"],
      ["last_test.ts", "passed still runs"],
    ]);
    assertMatch(results[0]?.cases[1]?.detail ?? "", /the process died \(SIGSEGV\)/);
  });

  it("knows of a leak even when the process dies later", async () => {
    // Deno runs files in alphabetical order.
    const results = await run(["leaking_test.ts", "slowly_crashing_test.ts"]);
    const leaking = results.find(({ file }) => file === "leaking_test.ts");
    assertEquals(statuses(leaking?.cases ?? []).at(-1), "failed leaks");
    assertEquals(results.length, 2);
  });

  it("fails a file that can't be loaded, and runs the others", async () => {
    const results = await run(["last_test.ts", "unloadable_test.ts"]);
    assertEquals(results.map(({ file, cases }) => [file, ...statuses(cases)]), [
      ["last_test.ts", "passed still runs"],
      ["unloadable_test.ts", "failed (file)"],
    ]);
    assertMatch(results[1]?.cases[0]?.detail ?? "", /Module not found/);
  });

  it("fails files that throw while loading, leave an error behind or have no case", async () => {
    const results = await run(["dangling_test.ts", "foreign_test.ts", "throwing_test.ts"]);
    assertEquals(results.map(({ file, cases }) => [file, ...statuses(cases)]), [
      ["dangling_test.ts", "failed dangles", "failed (uncaught error)"],
      ["foreign_test.ts", "failed (file)"],
      ["throwing_test.ts", "failed never", "failed (uncaught error)"],
    ]);
  });

  it("tells which files have wrong types", async () => {
    const result = await checkTypes(root, ["ill_typed_test.ts", "last_test.ts"]);
    assertEquals(result.ok, false);
    assertEquals(result.files, ["ill_typed_test.ts"]);
    assertEquals((await checkTypes(root, ["last_test.ts"])).ok, true);
  });
});
