import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { checkRepository } from "../../scripts/check_layers.ts";
import { REPOSITORY } from "../../scripts/setup.ts";
import { checkLayers, type Violation } from "../../scripts/support/layers.ts";

/** Checks files given as path → text. */
function check(files: Record<string, string>, importMap: Record<string, string> = {}): string[] {
  const sources = Object.entries(files).map(([path, text]) => ({ path, text }));
  return checkLayers(sources, importMap).map(format);
}

function format({ path, line, message }: Violation): string {
  return `${path}:${line}: ${message}`;
}

function importing(from: string, to: string, keyword = "import"): string[] {
  return check({ [from]: `${keyword} { x } from "${to}";` });
}

describe("checkLayers: rooms", () => {
  it("lets each room import what the table allows", () => {
    assertEquals(importing("src/autodiff/a.ts", "../graph/b.ts"), []);
    assertEquals(importing("src/graph/a.ts", "./b.ts"), []);
    assertEquals(importing("src/graph/deep/a.ts", "../b.ts"), []);
    assertEquals(importing("src/flow/a.ts", "../nn/b.ts"), []);
    assertEquals(importing("src/metrics/a.ts", "../data/b.ts"), []);
    assertEquals(importing("src/coopflow/a.ts", "../runtime/b.ts"), []);
    assertEquals(importing("src/serve/a.ts", "../coopflow/b.ts"), []);
    assertEquals(importing("src/cli/a.ts", "../serve/b.ts"), []);
    assertEquals(importing("mod.ts", "./src/coopflow/b.ts", "export"), []);
    assertEquals(importing("scripts/a.ts", "../src/cli/b.ts"), []);
    assertEquals(importing("tests/flow/a.ts", "../../scripts/b.ts"), []);
  });

  it("refuses what the table does not allow, with file and line", () => {
    assertEquals(check({ "src/graph/a.ts": '\nimport { x } from "../nn/b.ts";' }), [
      "src/graph/a.ts:2: may not import src/nn/b.ts: src/graph may import no other room",
    ]);
    assertEquals(importing("src/flow/a.ts", "../energy/b.ts"), [
      "src/flow/a.ts:1: may not import src/energy/b.ts: src/flow may import src/nn, src/graph",
    ]);
    assertEquals(importing("src/serve/a.ts", "../flow/b.ts").length, 1);
    assertEquals(importing("src/coopflow/a.ts", "../cli/b.ts").length, 1);
    assertEquals(importing("src/graph/a.ts", "../../mod.ts").length, 1);
    assertEquals(importing("src/cli/a.ts", "../../scripts/b.ts"), [
      "src/cli/a.ts:1: may not import scripts/b.ts: src/cli imports from src/ only",
    ]);
    assertEquals(importing("mod.ts", "./src/cli/b.ts", "export"), [
      "mod.ts:1: may not import src/cli/b.ts: mod.ts re-exports src/ except src/cli",
    ]);
  });

  it("sees dynamic imports and re-exports", () => {
    assertEquals(check({ "src/graph/a.ts": 'const x = await import("../nn/b.ts");' }).length, 1);
    assertEquals(importing("src/graph/a.ts", "../nn/b.ts", "export").length, 1);
  });

  it("lets runtime import compile, nothing else", () => {
    assertEquals(importing("src/runtime/a.ts", "../compile/b.ts"), []);
    assertEquals(importing("src/runtime/a.ts", "../graph/b.ts"), [
      "src/runtime/a.ts:1: may not import src/graph/b.ts: src/runtime may import src/compile",
    ]);
  });

  it("lets everyone import errors.ts and random.ts, and these only each other", () => {
    assertEquals(importing("src/graph/a.ts", "../errors.ts"), []);
    assertEquals(importing("src/io/a.ts", "../random.ts"), []);
    assertEquals(importing("src/random.ts", "./errors.ts"), []);
    assertEquals(importing("src/errors.ts", "./graph/b.ts").length, 1);
  });

  it("refuses a file of src/ in no room", () => {
    assertEquals(check({ "src/util.ts": "" }).length, 1);
    assertEquals(check({ "src/misc/a.ts": "" }).length, 1);
  });

  it("follows the import map back into the project", () => {
    const map = { "@std/assert": "./tests/support/std/assert.ts", "zod": "npm:zod@4", "graph/": "./src/graph/" };
    assertEquals(check({ "src/io/a.ts": 'import { z } from "zod"; import "node:path";' }, map), []);
    assertEquals(check({ "src/io/a.ts": 'import { assert } from "@std/assert";' }, map).length, 1);
    assertEquals(check({ "src/io/a.ts": 'import { x } from "graph/b.ts";' }, map).length, 1);
  });

  it("keeps Deno's FFI in src/runtime", () => {
    assertEquals(check({ "src/runtime/a.ts": "Deno.dlopen(path, {});" }), []);
    assertEquals(check({ "src/flow/a.ts": "\nDeno.dlopen(path, {});" }), [
      "src/flow/a.ts:2: may not use Deno.dlopen: only src/runtime knows the native boundary",
    ]);
    assertEquals(check({ "src/flow/a.ts": "// Deno.dlopen\nconst unsafe = Deno.UnsafePointer.of(a);" }).length, 1);
  });
});

describe("checkLayers: cycles", () => {
  it("finds each cycle once and tells its way", () => {
    const files = {
      "src/graph/c.ts": 'import "./a.ts";',
      "src/graph/a.ts": '\nimport { B } from "./b.ts";',
      "src/graph/b.ts": 'import { c } from "./c.ts";',
      "src/graph/d.ts": 'import "./a.ts";',
    };
    assertEquals(check(files), [
      "src/graph/a.ts:2: import cycle: src/graph/a.ts → src/graph/b.ts → src/graph/c.ts → src/graph/a.ts",
    ]);
  });

  it("lets types refer to each other in a circle", () => {
    const files = {
      "src/graph/a.ts": 'import type { B } from "./b.ts";',
      "src/graph/b.ts": 'import { A } from "./a.ts";',
    };
    assertEquals(check(files), []);
  });

  it("takes a diamond for none", () => {
    const files = {
      "src/graph/a.ts": 'import "./b.ts"; import "./c.ts";',
      "src/graph/b.ts": 'import "./d.ts";',
      "src/graph/c.ts": 'import "./d.ts";',
      "src/graph/d.ts": "",
    };
    assertEquals(check(files), []);
  });
});

describe("checkLayers: native code", () => {
  it("keeps cpu and cuda apart", () => {
    assertEquals(check({ "native/src/cpu/a.cpp": '#include "cpu/b.h"\n#include "common/c.h"\n#include <vector>' }), []);
    assertEquals(check({ "native/src/cpu/a.cpp": '\n#include "cuda/b.h"' }), [
      "native/src/cpu/a.cpp:2: may not include cuda/b.h: native/src/cpu and native/src/cuda are separate",
    ]);
    assertEquals(check({ "native/src/cuda/deep/a.cu": '#  include "../../cpu/b.h"' }).length, 1);
    assertEquals(check({ "native/src/program/a.cpp": '#include "cpu/b.h"' }), []);
  });
});

describe("this repository", () => {
  it("keeps to the table", async () => {
    const { files, violations } = await checkRepository(REPOSITORY);
    assertEquals(violations.map(format), []);
    assertEquals(files > 10, true);
  });
});
