// What the bdd adapter tells scripts/test.ts, one JSON object per line in the file that COOPFLOW_TEST_EVENTS names.
// Each line is written at once and in full, so that after a crash of the whole process the last line says where it was.

/** One leaf `it`; `id` counts from 0 in the order of registration within its file. */
export interface PlannedCase {
  readonly id: number;
  /** Names of the enclosing `describe`s and the case, joined by " > ". */
  readonly name: string;
}

export type CaseStatus = "passed" | "failed" | "skipped";

export type TestEvent =
  /** A test file is being loaded; nothing in it has run yet. */
  | { readonly type: "load"; readonly file: string }
  /** One top-level `describe` or `it`: the cases that will run, and how many the filter left out. */
  | { readonly type: "plan"; readonly file: string; readonly cases: readonly PlannedCase[]; readonly filtered: number }
  | { readonly type: "start"; readonly file: string; readonly id: number }
  | {
    readonly type: "result";
    readonly file: string;
    readonly id: number;
    readonly status: CaseStatus;
    readonly ms: number;
    /** Why it was skipped or how it failed. */
    readonly detail?: string;
  }
  /** A failure outside of every case: an `afterAll` that threw. */
  | { readonly type: "suiteError"; readonly file: string; readonly name: string; readonly detail: string };

/** Environment variable with the path of the events file; without it nothing is reported. */
export const EVENTS_VARIABLE = "COOPFLOW_TEST_EVENTS";
/** Environment variable with the filter on case names: text to be contained, or `/regular expression/`. */
export const FILTER_VARIABLE = "COOPFLOW_TEST_FILTER";

const eventsPath = Deno.env.get(EVENTS_VARIABLE);

/** Appends one event to the events file, if there is one. */
export function report(event: TestEvent): void {
  if (eventsPath !== undefined) Deno.writeTextFileSync(eventsPath, JSON.stringify(event) + "\n", { append: true });
}

/** Compiles the text of a filter; `undefined` selects everything. */
export function compileFilter(text: string | undefined): (name: string) => boolean {
  if (text === undefined || text === "") return () => true;
  const source = /^\/(.+)\/$/.exec(text)?.[1];
  if (source === undefined) return (name) => name.includes(text);
  const pattern = new RegExp(source);
  return (name) => pattern.test(name);
}
