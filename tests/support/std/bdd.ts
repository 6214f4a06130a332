// Stands behind the name "@std/testing/bdd" (deno.json, "imports"): JSR, where the original lives, can't be reached from
// the build machines. The part of its API that the tests use, with the same meaning, over Deno.test and its steps; so
// where JSR can be reached, changing the import map is enough. Two additions: `reason` says why a case is skipped, and
// each case is reported to scripts/test.ts (Deno's own count takes a whole describe as one test).
//
// Deno's leak sanitizers are on, per top-level describe: what beforeAll opens, afterAll closes. (Deno 2.9 has them off by
// default and does not apply them to single steps.)

import { compileFilter, FILTER_VARIABLE, type PlannedCase, report } from "./report.ts";

export interface TestOptions {
  /** Do not run; counted as skipped. */
  readonly ignore?: boolean;
  /** Why it is skipped, for the report. */
  readonly reason?: string;
  /** `false` anywhere in a top-level describe switches the check for unfinished async operations off for all of it. */
  readonly sanitizeOps?: boolean;
  /** `false` anywhere in a top-level describe switches the check for unclosed resources off for all of it. */
  readonly sanitizeResources?: boolean;
}

export type CaseBody = (t: Deno.TestContext) => void | Promise<void>;
export type SuiteBody = () => void;
export type Hook = () => void | Promise<void>;

type Arguments<Body> =
  | [name: string, fn: Body]
  | [name: string, options: TestOptions, fn: Body]
  | [options: TestOptions & { readonly name: string; readonly fn: Body }];

export interface Register<Body> {
  (...args: Arguments<Body>): void;
  /** Registers it as skipped. */
  skip(...args: Arguments<Body>): void;
  /** The same as `skip`. */
  ignore(...args: Arguments<Body>): void;
}

interface Case extends PlannedCase {
  readonly kind: "case";
  readonly label: string;
  readonly options: TestOptions;
  readonly fn: CaseBody;
}

interface Suite {
  readonly kind: "suite";
  readonly name: string;
  readonly label: string;
  readonly options: TestOptions;
  readonly children: (Suite | Case)[];
  readonly hooks: Record<"beforeAll" | "afterAll" | "beforeEach" | "afterEach", Hook[]>;
}

const file = Deno.mainModule;
const isSelected = compileFilter(Deno.env.get(FILTER_VARIABLE));
let nextId = 0;
let filtered = 0;
/** The describe whose body is being read; undefined at the top level. */
let current: Suite | undefined;

report({ type: "load", file });

function parse<Body>(what: string, args: Arguments<Body>): { label: string; options: TestOptions; fn: Body } {
  const [first, second, third] = args;
  if (typeof first === "object") return { label: first.name, options: first, fn: first.fn };
  const fn = third ?? second;
  if (typeof first !== "string" || typeof fn !== "function") {
    throw new TypeError(
      `${what}: expected (name, [options], function), found (${args.map((a) => typeof a).join(", ")})`,
    );
  }
  return { label: first, options: third === undefined ? {} : second as TestOptions, fn: fn as Body };
}

/** A child inherits what its describe says about skipping. */
function inherit(options: TestOptions, skip: boolean): TestOptions {
  const outer = current?.options;
  const ignore = skip || options.ignore === true || outer?.ignore === true;
  const reason = options.reason ?? outer?.reason;
  return { ...options, ignore, ...(reason === undefined ? {} : { reason }) };
}

function qualify(label: string): string {
  return current === undefined ? label : `${current.name} > ${label}`;
}

function registerSuite(args: Arguments<SuiteBody>, skip: boolean): void {
  const { label, options, fn } = parse("describe", args);
  const suite: Suite = {
    kind: "suite",
    name: qualify(label),
    label,
    options: inherit(options, skip),
    children: [],
    hooks: { beforeAll: [], afterAll: [], beforeEach: [], afterEach: [] },
  };
  const outer = current;
  current = suite;
  let returned: unknown;
  try {
    returned = fn();
  } finally {
    current = outer;
  }
  if (returned instanceof Promise) {
    throw new TypeError(`describe "${suite.name}": expected a synchronous function, found an async one; use beforeAll`);
  }
  add(suite);
}

function registerCase(args: Arguments<CaseBody>, skip: boolean): void {
  const { label, options, fn } = parse("it", args);
  const name = qualify(label);
  if (!isSelected(name)) {
    if (current === undefined) report({ type: "plan", file, cases: [], filtered: 1 });
    else filtered++;
    return;
  }
  add({ kind: "case", id: nextId++, name, label, options: inherit(options, skip), fn });
}

function add(item: Suite | Case): void {
  if (current !== undefined) {
    current.children.push(item);
    return;
  }
  const cases = leaves(item);
  report({ type: "plan", file, cases: cases.map(({ id, name }) => ({ id, name })), filtered });
  filtered = 0;
  if (cases.length === 0) return;
  Deno.test({
    name: item.label,
    sanitizeOps: keeps(item, "sanitizeOps"),
    sanitizeResources: keeps(item, "sanitizeResources"),
    fn: (t) => item.kind === "case" ? runCase(item, t, []) : runSuite(item, t, []),
  });
}

function leaves(item: Suite | Case): Case[] {
  return item.kind === "case" ? [item] : item.children.flatMap(leaves);
}

function keeps(item: Suite | Case, option: "sanitizeOps" | "sanitizeResources"): boolean {
  return item.options[option] !== false && (item.kind === "case" || item.children.every((c) => keeps(c, option)));
}

async function runSuite(suite: Suite, t: Deno.TestContext, outer: readonly Suite[]): Promise<void> {
  // Hooks are for cases: when all of them are skipped there is nothing to prepare.
  const hooks = leaves(suite).every((c) => c.options.ignore) ? undefined : suite.hooks;
  try {
    await prepare(suite, hooks?.beforeAll ?? []);
    for (const child of suite.children) {
      if (child.kind === "case") await runCase(child, t, [...outer, suite]);
      else await t.step(child.label, (t) => runSuite(child, t, [...outer, suite]));
    }
  } finally {
    await cleanUp(suite, hooks?.afterAll ?? []);
  }
}

async function prepare(suite: Suite, hooks: readonly Hook[]): Promise<void> {
  try {
    for (const hook of hooks) await hook();
  } catch (error) {
    const detail = `beforeAll of "${suite.name}" failed: ${describeError(error)}`;
    for (const { id } of leaves(suite)) report({ type: "result", file, id, status: "failed", ms: 0, detail });
    throw error;
  }
}

async function cleanUp(suite: Suite, hooks: readonly Hook[]): Promise<void> {
  try {
    for (const hook of hooks) await hook();
  } catch (error) {
    report({ type: "suiteError", file, name: suite.name, detail: `afterAll failed: ${describeError(error)}` });
    throw error;
  }
}

async function runCase(item: Case, t: Deno.TestContext, suites: readonly Suite[]): Promise<void> {
  const { id, label, options } = item;
  if (options.ignore) {
    await t.step({ name: label, ignore: true, fn: () => {} });
    const detail = options.reason;
    report({ type: "result", file, id, status: "skipped", ms: 0, ...(detail === undefined ? {} : { detail }) });
    return;
  }
  report({ type: "start", file, id });
  const begin = performance.now();
  let detail: string | undefined;
  const passed = await t.step(label, async (t) => {
    try {
      await runBody(item.fn, t, suites);
    } catch (error) {
      detail = describeError(error);
      throw error;
    }
  });
  const ms = performance.now() - begin;
  if (passed) report({ type: "result", file, id, status: "passed", ms });
  else report({ type: "result", file, id, status: "failed", ms, detail: detail ?? "a step failed" });
}

async function runBody(fn: CaseBody, t: Deno.TestContext, suites: readonly Suite[]): Promise<void> {
  for (const suite of suites) for (const hook of suite.hooks.beforeEach) await hook();
  try {
    await fn(t);
  } finally {
    for (const suite of suites.toReversed()) for (const hook of suite.hooks.afterEach) await hook();
  }
}

/** The error with its causes, without the stack frames that every case has. */
function describeError(error: unknown): string {
  if (!(error instanceof Error)) return `threw ${Deno.inspect(error)}`;
  const lines = (error.stack ?? String(error)).split("\n");
  const own = lines.filter((line) => !/^\s+at .*(?:ext:|support\/std\/)/.test(line)).join("\n");
  const inner = error instanceof AggregateError ? error.errors : error.cause === undefined ? [] : [error.cause];
  return [own, ...inner.map((cause) => `caused by: ${describeError(cause)}`)].join("\n");
}

function hook(kind: keyof Suite["hooks"]): (fn: Hook) => void {
  return (fn) => {
    if (current === undefined) {
      throw new Error(`${kind}: expected inside a describe, found at the top level of the file`);
    }
    current.hooks[kind].push(fn);
  };
}

function register<Body>(run: (args: Arguments<Body>, skip: boolean) => void): Register<Body> {
  const skip = (...args: Arguments<Body>) => run(args, true);
  return Object.assign((...args: Arguments<Body>) => run(args, false), { skip, ignore: skip });
}

/** A group of cases with hooks of its own; groups nest. */
export const describe: Register<SuiteBody> = register(registerSuite);
/** One case. */
export const it: Register<CaseBody> = register(registerCase);
/** Runs once before the first case of the enclosing describe. */
export const beforeAll: (fn: Hook) => void = hook("beforeAll");
/** Runs once after the last case of the enclosing describe, also when one failed. */
export const afterAll: (fn: Hook) => void = hook("afterAll");
/** Runs before each case of the enclosing describe and of those inside it, outer hooks first. */
export const beforeEach: (fn: Hook) => void = hook("beforeEach");
/** Runs after each case of the enclosing describe and of those inside it, inner hooks first. */
export const afterEach: (fn: Hook) => void = hook("afterEach");
