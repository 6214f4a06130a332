import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { findImports } from "../../scripts/support/imports.ts";

/** The specifiers found, with `type ` before those that import types alone. */
function found(source: string): string[] {
  return findImports(source).map(({ specifier, typeOnly }) => (typeOnly ? "type " : "") + specifier);
}

describe("findImports", () => {
  it("finds every form of import and re-export", () => {
    const source = `
      import a from "./a.ts";
      import { b, type B } from './b.ts';
      import * as c from "./c.ts";
      import "./d.ts";
      export * from "./e.ts";
      export { f } from "./f.ts";
      const g = await import("./g.ts");
      import h, { type H } from "./h.ts";
      import data from "./i.json" with { type: "json" };
    `;
    assertEquals(found(source), ["a", "b", "c", "d", "e", "f", "g", "h"].map((n) => `./${n}.ts`).concat("./i.json"));
  });

  it("tells imports of types alone from others", () => {
    const source = `
      import type { A } from "./a.ts";
      import type B from "./b.ts";
      export type { C } from "./c.ts";
      export type * from "./d.ts";
      import { type E1, type E2 } from "./e.ts";
      import { type F, g } from "./f.ts";
      import { g, type F } from "./g.ts";
      import type from "./h.ts";
      import {} from "./i.ts";
      import { type J, } from "./j.ts";
    `;
    const types = ["a", "b", "c", "d", "e"].map((n) => `type ./${n}.ts`);
    assertEquals(found(source), [...types, "./f.ts", "./g.ts", "./h.ts", "./i.ts", "type ./j.ts"]);
  });

  it("gives the line of the specifier", () => {
    const source = 'import a from "./a.ts";\n/* two\nlines */\nimport {\n  b,\n} from "./b.ts";\n';
    assertEquals(findImports(source).map(({ line }) => line), [1, 6]);
  });

  it("ignores comments, strings, templates and regular expressions", () => {
    const source = [
      '// import a from "./a.ts";',
      '/* import b from "./b.ts"; */',
      "const c = 'import c from \"./c.ts\"';",
      'const d = `import d from "./d.ts" ${`import e from "./e.ts"` + { f: 1 }.f} import g from "./g.ts"`;',
      'const h = /import h from "[^/"]"/g.test(c) ? 1 / 2 / 3 : "\\"";',
      'const i = Array.from("./i.ts");',
      "const j = import.meta.url;",
      'module.import("./k.ts");',
      'import z from "./z.ts";',
    ].join("\n");
    assertEquals(found(source), ["./z.ts"]);
  });

  it("finds imports inside template expressions", () => {
    assertEquals(found('const a = `x ${await import("./a.ts")} y`;'), ["./a.ts"]);
  });
});
