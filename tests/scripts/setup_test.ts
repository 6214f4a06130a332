import { assert, assertEquals, assertMatch, assertRejects, assertStringIncludes } from "@std/assert";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { join } from "node:path";
import { REPOSITORY } from "../../scripts/setup.ts";
import { hashFiles, listFiles } from "../../scripts/support/content_hash.ts";
import { withFileLock } from "../../scripts/support/file_lock.ts";
import { buildPaths, ensureNativeLibrary } from "../../scripts/support/native_build.ts";
import { findMissing, installMissing, type Requirement, REQUIREMENTS } from "../../scripts/support/packages.ts";
import { SetupError } from "../../scripts/support/setup_error.ts";

function requirement(name: string, present: boolean): Requirement {
  return { package: name, why: "a test", isPresent: () => Promise.resolve(present) };
}

describe("packages", () => {
  it("lists the missing ones", async () => {
    const missing = await findMissing([requirement("a", false), requirement("b", true), requirement("c", false)]);
    assertEquals(missing.map((m) => m.package), ["a", "c"]);
  });

  it("names the exact command in one line when it may not install", async () => {
    const install = installMissing([requirement("g++", false), requirement("libdnnl-dev", false)], {
      allowed: false,
      log: "/dev/null",
      say: () => {},
    });
    const error = await assertRejects(() => install, SetupError, "--no-install");
    assertStringIncludes(error.message, "apt-get install -y --no-install-recommends g++ libdnnl-dev");
    assertEquals(error.message.split("\n").length, 1);
  });

  it("finds everything on a machine that has built the library", async () => {
    assertEquals(await findMissing(REQUIREMENTS), []);
  });
});

describe("content hash", () => {
  it("depends on names and contents, not on dates", async () => {
    const folder = await Deno.makeTempDir();
    try {
      await Deno.mkdir(join(folder, "deep"));
      await Deno.writeTextFile(join(folder, "deep/b"), "two");
      await Deno.writeTextFile(join(folder, "a"), "one");
      const hash = async () => await hashFiles(folder, await listFiles(folder));
      const before = await hash();
      assertEquals(await listFiles(folder), ["a", "deep/b"]);
      await Deno.utime(join(folder, "a"), 0, 0);
      assertEquals(await hash(), before);
      await Deno.writeTextFile(join(folder, "a"), "One");
      assert(await hash() !== before);
      await Deno.writeTextFile(join(folder, "a"), "one");
      await Deno.rename(join(folder, "a"), join(folder, "c"));
      assert(await hash() !== before);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  });
});

describe("withFileLock", () => {
  it("lets one in at a time and tells the other that it waits", async () => {
    const path = await Deno.makeTempFile();
    const log: string[] = [];
    const hold = async (name: string) => {
      await withFileLock(path, () => log.push(`${name} waits`), async () => {
        log.push(`${name} in`);
        await new Promise((resolve) => setTimeout(resolve, 500));
        log.push(`${name} out`);
      });
    };
    const first = hold("a");
    await new Promise((resolve) => setTimeout(resolve, 50));
    await Promise.all([first, hold("b")]);
    await Deno.remove(path);
    assertEquals(log, ["a in", "b waits", "a out", "b in", "b out"]);
  });
});

const HEADER =
  '#pragma once\n#ifdef __cplusplus\nextern "C"\n#endif\n__attribute__((visibility("default"))) int cf_answer(void);\n';

describe("ensureNativeLibrary", () => {
  let root = "";
  let said: string[] = [];

  beforeAll(async () => {
    root = await Deno.makeTempDir({ prefix: "coopflow-build-" });
    for (const name of ["deno.json", "deno.lock", "package.json", "native/CMakeLists.txt", "native/package.json"]) {
      await Deno.mkdir(join(root, "native/src/abi"), { recursive: true });
      await Deno.mkdir(join(root, "native/tests"), { recursive: true });
      await Deno.mkdir(join(root, "native/include"), { recursive: true });
      await Deno.copyFile(join(REPOSITORY, name), join(root, name));
    }
    await Deno.writeTextFile(join(root, "native/include/coopflow.h"), HEADER);
    await Deno.writeTextFile(
      join(root, "native/tests/a.c"),
      '#include "coopflow.h"\nint main(void) { return cf_answer(); }\n',
    );
    await writeAnswer("42");
  });
  afterAll(async () => await Deno.remove(root, { recursive: true }));

  async function writeAnswer(expression: string): Promise<void> {
    const text = `#include "coopflow.h"\nextern "C" int cf_answer(void) { return ${expression}; }\n`;
    await Deno.writeTextFile(join(root, "native/src/abi/answer.cpp"), text);
  }

  async function ensure(tests = false): Promise<"cached" | "built"> {
    said = [];
    return await ensureNativeLibrary({ root, tests, install: false, say: (line) => said.push(line) });
  }

  function answer(): number {
    // A copy under another name each time: a library once loaded stays (it is linked with nodelete).
    const copy = join(root, `${crypto.randomUUID()}.so`);
    Deno.copyFileSync(buildPaths(root).library, copy);
    const library = Deno.dlopen(copy, { cf_answer: { parameters: [], result: "i32" } });
    try {
      return library.symbols.cf_answer();
    } finally {
      library.close();
    }
  }

  it("builds once, then again only when the content changes", async () => {
    assertEquals(await ensure(), "built");
    assertMatch(said.join("\n"), /^building the native library \(about \d+ s, once\)…\nbuilt in \d+ s$/);
    assertEquals(answer(), 42);

    const begin = performance.now();
    assertEquals(await ensure(), "cached");
    assert(performance.now() - begin < 1000);
    assertEquals(said, []);

    await writeAnswer("43");
    assertEquals(await ensure(), "built");
    assertEquals(answer(), 43);
  });

  it("builds the tests when they are asked for", async () => {
    assertEquals(await ensure(true), "built");
    assertEquals(await ensure(true), "cached");
    assertEquals(await ensure(false), "cached");
    const { code } = await new Deno.Command(join(buildPaths(root).build, "tests/a")).output();
    assertEquals(code, 43);
  });

  it("builds once for two that start together", async () => {
    await writeAnswer("44");
    const options = { root, tests: false, install: false, say: () => {} };
    const outcomes = await Promise.all([ensureNativeLibrary(options), ensureNativeLibrary(options)]);
    assertEquals(outcomes.sort(), ["built", "cached"]);
  });

  it("shows the compiler's error when the build fails, and builds after it is mended", async () => {
    await writeAnswer("nonsense");
    const error = await assertRejects(() => ensure(), SetupError, "building native/ failed");
    assertMatch(error.message, /error: .*nonsense/);
    await assertRejects(() => ensure(), SetupError);
    await writeAnswer("45");
    assertEquals(await ensure(), "built");
    assertEquals(answer(), 45);
  });
});
