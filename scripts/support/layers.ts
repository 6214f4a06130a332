// The rooms of the project and who may import whom: the table of src/README.md as data, and its check.

import { codeWords, findImports } from "./imports.ts";

/** Rooms of src/ that each room may import besides itself. */
const ROOMS: Readonly<Record<string, readonly string[]>> = {
  graph: [],
  autodiff: ["graph"],
  compile: ["graph"],
  runtime: ["compile"],
  nn: ["graph"],
  flow: ["nn", "graph"],
  energy: ["nn", "graph", "autodiff"],
  optim: ["nn", "graph"],
  io: [],
  data: ["io"],
  metrics: ["graph", "io", "data"],
  report: ["io", "metrics"],
  coopflow: [
    "graph",
    "autodiff",
    "compile",
    "runtime",
    "nn",
    "flow",
    "energy",
    "optim",
    "data",
    "io",
    "metrics",
    "report",
  ],
  serve: ["coopflow"],
};

/** Files in src/ itself that everyone may import; they import nothing of the project but each other. */
const COMMON = ["src/errors.ts", "src/random.ts"];

/** A file of the project with its text; the path is relative to the repository, with forward slashes. */
export interface SourceFile {
  readonly path: string;
  readonly text: string;
}

export interface Violation {
  readonly path: string;
  readonly line: number;
  readonly message: string;
}

/**
 * Checks every import of the TypeScript files and every include of the native ones.
 *
 * @param importMap the "imports" of deno.json, because a bare name may lead back into the project
 */
export function checkLayers(files: readonly SourceFile[], importMap: Readonly<Record<string, string>>): Violation[] {
  const violations: Violation[] = [];
  const edges = new Map<string, { to: string; line: number }[]>();
  for (const { path, text } of files) {
    if (!path.endsWith(".ts")) continue;
    const found: { to: string; line: number }[] = [];
    edges.set(path, found);
    if (roomOf(path) === undefined) {
      const expected = `${COMMON.join(", ")} or a room (${Object.keys(ROOMS).join(", ")}, cli)`;
      violations.push({ path, line: 1, message: `belongs to no room: expected ${expected}` });
    }
    for (const { specifier, line, typeOnly } of findImports(text)) {
      const to = resolve(path, specifier, importMap);
      if (to === undefined) continue; // a package
      // Types are gone when the program runs, so that only values can depend on each other in a circle.
      if (!typeOnly) found.push({ to, line });
      const reason = whyForbidden(path, to);
      if (reason !== undefined) violations.push({ path, line, message: `may not import ${to}: ${reason}` });
    }
    violations.push(...checkNativeAccess(path, text));
  }
  violations.push(...findCycles(edges));
  for (const file of files) if (file.path.startsWith("native/")) violations.push(...checkIncludes(file));
  return violations;
}

/** `mod.ts`, `scripts`, `tests`, `src` for the common files, `cli` or one of ROOMS; `undefined` elsewhere in src/. */
function roomOf(path: string): string | undefined {
  if (COMMON.includes(path)) return "src";
  const [top = "", room = "", ...rest] = path.split("/");
  if (top !== "src") return top;
  if (rest.length === 0) return undefined;
  return room === "cli" || room in ROOMS ? room : undefined;
}

function whyForbidden(from: string, to: string): string | undefined {
  const source = roomOf(from);
  const target = roomOf(to);
  if (source === "scripts" || source === "tests" || source === target || source === undefined) return undefined;
  if (COMMON.includes(to)) return undefined;
  if (target === undefined || !to.startsWith("src/")) return `${describe(source)} imports from src/ only`;
  if (source === "src") return "the files that everyone imports may import only each other";
  if (source === "mod.ts") return target === "cli" ? "mod.ts re-exports src/ except src/cli" : undefined;
  if (source === "cli") return undefined;
  const allowed = ROOMS[source] ?? [];
  if (allowed.includes(target)) return undefined;
  const list = allowed.map((name) => `src/${name}`).join(", ");
  return `src/${source} may import ${list === "" ? "no other room" : list}`;
}

function describe(room: string): string {
  return room === "mod.ts" ? room : room === "src" ? "src/" : `src/${room}`;
}

/** The file that a specifier leads to; `undefined` for a package or a module of the runtime. */
function resolve(from: string, specifier: string, importMap: Readonly<Record<string, string>>): string | undefined {
  if (specifier.startsWith("./") || specifier.startsWith("../")) return join(from, specifier);
  const prefix = Object.keys(importMap)
    .filter((key) => key === specifier || (key.endsWith("/") && specifier.startsWith(key)))
    .sort((a, b) => b.length - a.length)[0];
  const mapped = prefix === undefined ? undefined : importMap[prefix];
  if (prefix === undefined || mapped === undefined || !mapped.startsWith("./")) return undefined;
  return join("deno.json", mapped + specifier.slice(prefix.length));
}

function join(from: string, relative: string): string {
  return new URL(relative, `file:///${from}`).pathname.slice(1);
}

/** Only src/runtime (and tests and scripts) may use Deno's FFI. */
function checkNativeAccess(path: string, text: string): Violation[] {
  const room = roomOf(path);
  if (room === "runtime" || room === "tests" || room === "scripts") return [];
  const words = codeWords(text);
  return words.flatMap(({ text: name, line }, i) => {
    const isFfi = name === "dlopen" || name.startsWith("Unsafe");
    if (!isFfi || words[i - 1]?.text !== "." || words[i - 2]?.text !== "Deno") return [];
    return [{ path, line, message: `may not use Deno.${name}: only src/runtime knows the native boundary` }];
  });
}

/** Each import cycle once, told from its alphabetically first file. */
function findCycles(edges: ReadonlyMap<string, readonly { to: string; line: number }[]>): Violation[] {
  const violations: Violation[] = [];
  const done = new Set<string>();
  const stack: string[] = [];
  const reported = new Set<string>();
  const visit = (path: string): void => {
    stack.push(path);
    for (const { to } of edges.get(path) ?? []) {
      const start = stack.indexOf(to);
      if (start >= 0) report(stack.slice(start));
      else if (!done.has(to)) visit(to);
    }
    stack.pop();
    done.add(path);
  };
  const report = (cycle: readonly string[]): void => {
    const first = [...cycle].sort()[0] ?? "";
    const at = cycle.indexOf(first);
    const rotated = [...cycle.slice(at), ...cycle.slice(0, at)];
    const name = [...rotated, first].join(" → ");
    if (reported.has(name)) return;
    reported.add(name);
    const next = rotated[1] ?? first;
    const line = edges.get(first)?.find((edge) => edge.to === next)?.line ?? 1;
    violations.push({ path: first, line, message: `import cycle: ${name}` });
  };
  for (const path of [...edges.keys()].sort()) if (!done.has(path)) visit(path);
  return violations;
}

/** native/src/cpu and native/src/cuda never include each other. */
function checkIncludes({ path, text }: SourceFile): Violation[] {
  const backend = /^native\/src\/(cpu|cuda)\//.exec(path)?.[1];
  if (backend === undefined) return [];
  const other = backend === "cpu" ? "cuda" : "cpu";
  return text.split("\n").flatMap((content, i) => {
    const name = /^\s*#\s*include\s*["<]([^">]+)[">]/.exec(content)?.[1];
    if (name === undefined) return [];
    const candidates = [join(path, name), join("native/src/x", name)];
    if (!candidates.some((file) => file.startsWith(`native/src/${other}/`))) return [];
    return [{ path, line: i + 1, message: `may not include ${name}: native/src/cpu and native/src/cuda are separate` }];
  });
}
