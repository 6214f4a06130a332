/** What a run tells of itself in its directory while it learns: its state, its figures and its page. */
import { basename, resolve } from "node:path";
import { CancelledError } from "../errors.ts";
import { appendJsonLine } from "../io/json_lines.ts";
import type { CoopFlowConfig } from "./config.ts";
import type { IterationEvent, IterationMetrics, WarningEvent } from "./events.ts";
import type { RunDirectory } from "./run_directory.ts";
import { RunEvents } from "./run_events.ts";
import { writeRunPage } from "./run_page.ts";
import { readStateFile, type RunCondition, type RunState } from "./run_state.ts";

/** A page is written anew when learning has gone on for this many times as long as writing one takes. */
const PAGE_SHARE = 300;
/** How long the first page is taken to take, in seconds. */
const FIRST_PAGE = 0.1;

/** Samples with a picture of them. */
export interface LoggedSamples {
  readonly png: Uint8Array;
  /** Of the picture. */
  readonly height: number;
  readonly width: number;
  /** Values of the proposals, and of the revised images. */
  readonly proposals: Float32Array;
  readonly images: Float32Array;
}

/** Keeps the log of one call of `train`. */
export class RunLog {
  readonly #run: RunDirectory;
  readonly #events: RunEvents;
  readonly #iterations: number;
  readonly #started: string;
  readonly #before: number;
  readonly #began = performance.now();
  #pageAt = performance.now();
  #pageSeconds = FIRST_PAGE;
  #closed = false;

  private constructor(run: RunDirectory, events: RunEvents, iterations: number, before: RunState | undefined) {
    this.#run = run;
    this.#events = events;
    this.#iterations = iterations;
    this.#started = before?.started ?? new Date().toISOString();
    this.#before = before?.seconds ?? 0;
  }

  /** Goes on with the log of a run whose files have been cut back to `iteration`. */
  static async open(run: RunDirectory, config: CoopFlowConfig, iteration: number): Promise<RunLog> {
    const events = await RunEvents.open(run.path, basename(resolve(run.path)), config, iteration);
    const log = new RunLog(run, events, config.training.iterations, await readStateFile(run.path));
    await log.#writeState("running", iteration);
    return log;
  }

  /** After an iteration, or a warning. */
  async record(event: IterationEvent | WarningEvent): Promise<void> {
    await appendJsonLine(this.#run.metricsPath, event.type === "iteration" ? metricsLine(event) : warningLine(event));
    if (event.type === "iteration") await this.#events.add(event.iteration, scalarsOf(event));
  }

  /** After samples were drawn; `png` shows them. */
  async samples(iteration: number, { png, height, width, proposals, images }: LoggedSamples): Promise<void> {
    await this.#events.add(iteration, [
      { tag: "samples", png, height, width },
      { tag: "pixels/proposals", values: proposals },
      { tag: "pixels/revised", values: images },
    ]);
    await this.#events.flush();
  }

  /** Before a checkpoint, so that the logs reach as far as it. */
  async flush(): Promise<void> {
    await this.#events.flush();
  }

  /** After a checkpoint. */
  async checkpoint(iteration: number): Promise<void> {
    await this.#writeState("running", iteration);
    if (iteration > 0 && performance.now() - this.#pageAt > 1000 * PAGE_SHARE * this.#pageSeconds) {
      await this.#writePage();
    }
  }

  /** When all is done. */
  async finish(iteration: number): Promise<void> {
    await this.#end("finished", iteration);
  }

  /** When learning ends before it is done, for the reason given; none: whoever listened left. Nothing happens after `finish`. */
  async stop(iteration: number, error?: unknown): Promise<void> {
    if (this.#closed) return;
    const interrupted = error === undefined || error instanceof CancelledError;
    const reason = error instanceof Error ? error.message : error === undefined ? undefined : String(error);
    // The error itself matters more than one in telling of it, on a disk that is full.
    await this.#end(interrupted ? "interrupted" : "failed", iteration, interrupted ? undefined : reason)
      .catch((failure) => {
        if (error === undefined) throw failure;
      });
  }

  async #end(state: RunCondition, iteration: number, reason?: string): Promise<void> {
    this.#closed = true;
    await this.#events.flush();
    await this.#writeState(state, iteration, reason);
    await this.#writePage();
  }

  async #writeState(state: RunCondition, iteration: number, reason?: string): Promise<void> {
    const seconds = this.#before + (performance.now() - this.#began) / 1000;
    const value: RunState = {
      state,
      ...(reason === undefined ? {} : { reason }),
      iteration,
      iterations: this.#iterations,
      seconds: Number(seconds.toFixed(3)),
      started: this.#started,
      updated: new Date().toISOString(),
    };
    await this.#run.writeJson("state.json", value);
  }

  async #writePage(): Promise<void> {
    const begin = performance.now();
    await writeRunPage(this.#run.path);
    this.#pageAt = performance.now();
    this.#pageSeconds = (this.#pageAt - begin) / 1000;
  }
}

/** Figures that the phase has. */
function known(metrics: IterationMetrics): Record<string, number | boolean> {
  return Object.fromEntries(Object.entries(metrics).filter(([, value]) => !Number.isNaN(value)));
}

function scalarsOf({ metrics, seconds, dataSeconds }: IterationEvent): { tag: string; scalar: number }[] {
  return Object.entries({ ...known(metrics), seconds, dataSeconds }).map(([tag, value]) => ({
    tag,
    scalar: Number(value),
  }));
}

function metricsLine(event: IterationEvent): Record<string, number | boolean> {
  const { iteration, seconds, dataSeconds, metrics } = event;
  return {
    iteration,
    ...known(metrics),
    seconds: Number(seconds.toFixed(4)),
    dataSeconds: Number(dataSeconds.toFixed(6)),
  };
}

function warningLine({ iteration, kind, message, advice }: WarningEvent): Record<string, number | string> {
  return { iteration, warning: kind, message, advice };
}
