// Makes results out of what the bdd adapter reported and how the process ended.

import type { CaseStatus, TestEvent } from "../../tests/support/std/report.ts";

export interface CaseResult {
  /** Names of the enclosing describes and the case, joined by " > ". */
  readonly name: string;
  readonly status: CaseStatus;
  readonly ms: number;
  /** Why it was skipped or how it failed. */
  readonly detail?: string;
}

export interface FileResult {
  /** Path relative to the repository. */
  readonly file: string;
  readonly cases: readonly CaseResult[];
}

export interface Totals {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

/** What is known of one test file while it runs. */
interface FileState {
  readonly names: string[];
  readonly results: (CaseResult | undefined)[];
  readonly outside: CaseResult[];
  running: number | undefined;
  filtered: number;
}

/** Collects the events of one run. */
export class TestCollector {
  readonly #files = new Map<string, FileState>();
  readonly #shorten: (specifier: string) => string;

  /** @param shorten turns a file's URL into its path relative to the repository */
  constructor(shorten: (specifier: string) => string) {
    this.#shorten = shorten;
  }

  /** Takes in one event; returns the file that it is about. */
  add(event: TestEvent): string {
    const file = this.#shorten(event.file);
    const state = this.#state(file);
    switch (event.type) {
      case "load":
        break;
      case "plan":
        state.filtered += event.filtered;
        for (const { id, name } of event.cases) state.names[id] = name;
        break;
      case "start":
        state.running = event.id;
        break;
      case "suiteError":
        state.outside.push({ name: event.name, status: "failed", ms: 0, detail: event.detail });
        break;
      case "result": {
        const { id, status, ms, detail } = event;
        const name = state.names[id] ?? `case ${id}`;
        state.results[id] = { name, status, ms, ...(detail === undefined ? {} : { detail }) };
        state.running = undefined;
      }
    }
    return file;
  }

  /** Whether the file was loaded, that is, began to run. */
  hasBegun(file: string): boolean {
    return this.#files.has(file);
  }

  /** Whether every case of the file has a result. */
  isComplete(file: string): boolean {
    const state = this.#files.get(file);
    return state !== undefined && state.names.length > 0 &&
      state.names.every((_, id) => state.results[id] !== undefined);
  }

  /**
   * The results of a file whose run has ended.
   *
   * @param failures what Deno itself reports as failed outside of the cases: leaks and uncaught errors
   * @param death how the process died, when it died in this file
   */
  finish(file: string, failures: readonly CaseResult[], death?: string): FileResult {
    const { names, results, running, filtered, outside: hooks } = this.#state(file);
    const reason = death?.split("\n")[0] ?? "the file ended";
    const cases = names.map((name, id): CaseResult => {
      const detail = id === running ? death ?? `${reason} while this case ran` : `did not run: ${reason} before`;
      return results[id] ?? { name, status: "failed", ms: 0, detail };
    });
    // A failed hook fails its describe in Deno's eyes too: that is known already.
    const known = (name: string) =>
      [...cases, ...hooks].some((c) => c.status === "failed" && (c.name === name || c.name.startsWith(`${name} > `)));
    const outside = [...hooks, ...failures.filter((failure) => !known(failure.name))];
    if (death !== undefined && running === undefined) outside.push(fileFailure(death));
    if (names.length === 0 && filtered === 0 && outside.length === 0) {
      outside.push(fileFailure("expected at least one `it` of @std/testing/bdd, found none"));
    }
    return { file, cases: [...cases, ...outside] };
  }

  #state(file: string): FileState {
    let state = this.#files.get(file);
    if (state === undefined) {
      state = { names: [], results: [], outside: [], running: undefined, filtered: 0 };
      this.#files.set(file, state);
    }
    return state;
  }
}

/** A failure that belongs to no case. */
export function fileFailure(detail: string, name = "(file)"): CaseResult {
  return { name, status: "failed", ms: 0, detail };
}

export function countCases(cases: readonly CaseResult[]): Totals {
  const count = (status: CaseStatus) => cases.filter((c) => c.status === status).length;
  return { passed: count("passed"), failed: count("failed"), skipped: count("skipped") };
}

/** `N passed, N failed`, and `, N skipped` when there are any. */
export function formatTotals({ passed, failed, skipped }: Totals): string {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`;
}
