/** What training prints: a line that changes on a terminal, plain lines into a pipe, or events as JSON lines. */
import process from "node:process";
import type { IterationEvent, Report, SetUpEvent, TrainEvent } from "../coopflow/events.ts";
import type { DeviceInfo } from "../runtime/device.ts";
import { precisionLine } from "./options.ts";

/** Receives what happens. */
export interface Printer {
  event(event: TrainEvent): void;
  notice(line: string): void;
  /** Leaves the terminal as it should be. */
  close(): void;
}

/** How to print. */
export interface PrinterOptions {
  readonly json?: boolean;
  readonly quiet?: boolean;
}

/** Time between two changes of the line on a terminal, and between two plain lines, in milliseconds. */
const TERMINAL_INTERVAL = 100;
const PLAIN_INTERVAL = 10_000;

/** The printer that the options and the output ask for. */
export function createPrinter({ json, quiet }: PrinterOptions): Printer {
  if (json) return new JsonPrinter();
  if (quiet) return new QuietPrinter();
  return new TextPrinter(process.stdout.isTTY === true);
}

class QuietPrinter implements Printer {
  event(): void {}
  notice(): void {}
  close(): void {}
}

class JsonPrinter implements Printer {
  event(event: TrainEvent): void {
    if (event.type !== "profile") console.log(JSON.stringify(event));
  }

  notice(message: string): void {
    this.event({ type: "notice", message });
  }

  close(): void {}
}

class TextPrinter implements Printer {
  readonly #terminal: boolean;
  #shown = false;
  #last = -Infinity;
  #from = 0;
  #began = 0;

  constructor(terminal: boolean) {
    this.#terminal = terminal;
  }

  event(event: TrainEvent): void {
    switch (event.type) {
      case "set-up":
        this.#line(setUpLine(event));
        this.#choice(event.device);
        this.#from = event.iteration;
        this.#began = performance.now();
        return;
      case "iteration":
        return this.#progress(event);
      case "samples":
        return this.#line(`iteration ${event.iteration}: samples in ${event.path}`);
      case "warning":
        return this.notice(`warning: iteration ${event.iteration}: ${event.message}; ${event.advice}`);
      case "measurement": {
        const { iteration, metric, value, isBest } = event;
        return this.#line(`iteration ${iteration}: ${metric} ${value.toFixed(3)}${isBest ? ", the best so far" : ""}`);
      }
      case "report":
        for (const line of reportLines(event.report)) this.#line(line);
        return;
      case "notice":
        return this.notice(event.message);
      case "finished": {
        const seconds = this.#began === 0 ? 0 : (performance.now() - this.#began) / 1000;
        const time = seconds === 0 ? "nothing to do" : `learnt in ${duration(seconds)}`;
        return this.#line(`finished: ${event.iteration} iterations, ${time}`);
      }
      case "profile":
        return this.close(); // its tables go to the same terminal
      case "checkpoint":
        return;
    }
  }

  notice(line: string): void {
    this.#line(line);
  }

  #choice(device: DeviceInfo): void {
    const line = precisionLine(device);
    if (line !== undefined) this.#line(line);
  }

  close(): void {
    if (this.#shown) process.stdout.write("\n");
    this.#shown = false;
  }

  #progress(event: IterationEvent): void {
    const now = performance.now();
    const isLast = event.iteration === event.iterations;
    const interval = this.#terminal ? TERMINAL_INTERVAL : PLAIN_INTERVAL;
    if (!isLast && now - this.#last < interval) return;
    this.#last = now;
    const rate = (event.iteration - this.#from) / ((now - this.#began) / 1000);
    const text = iterationLine(event, rate);
    if (!this.#terminal) return console.log(text);
    process.stdout.write(`\r\x1b[2K${text.slice(0, (process.stdout.columns ?? 80) - 1)}`);
    this.#shown = true;
  }

  #line(text: string): void {
    this.close();
    console.log(text);
  }
}

function setUpLine({ device, parameters, initialisedFrom, seconds, iteration, iterations }: SetUpEvent): string {
  const start = iteration > 0 ? `, going on after iteration ${iteration} of ${iterations}` : "";
  const images = initialisedFrom > 0 ? `, initialised from ${initialisedFrom} images` : "";
  const why = device.reason === undefined ? "" : ` (auto: ${device.reason})`;
  const where = `${device.device}, ${device.detail}${why}`;
  return `${parameters.toLocaleString("en-US")} parameters on ${where}; set up in ${
    duration(seconds)
  }${images}${start}`;
}

function iterationLine({ iteration, iterations, metrics }: IterationEvent, rate: number): string {
  const [hasFlow, hasEbm] = [metrics.bitsPerDim, metrics.ebmLoss].map((value) => !Number.isNaN(value));
  const parts = [
    `iteration ${iteration}/${iterations}`,
    rate >= 1 ? `${rate.toFixed(1)}/s` : `${(1 / rate).toFixed(1)} s each`,
    `${duration((iterations - iteration) / rate)} left`,
    ...(hasFlow ? [`flow ${metrics.bitsPerDim.toFixed(3)} bits/dim`] : []),
    ...(hasEbm ? [`ebm ${metrics.ebmLoss.toFixed(3)}`, `change ${metrics.change.toFixed(3)}`] : []),
    `${Math.round(process.memoryUsage.rss() / 1e6)} MB`,
  ];
  if ((hasFlow && !metrics.flowUpdated) || (hasEbm && !metrics.ebmUpdated)) parts.push("update skipped");
  return parts.join("  ");
}

function reportLines({ count, heldout, frechet, bitsPerDim }: Report): string[] {
  const { noise, proposals, revised } = frechet;
  return [
    `pixel Fréchet distance of ${count} images to ${heldout} held-out ones: noise ${noise.toFixed(2)}, ` +
    `proposals ${proposals.toFixed(3)}, revised ${revised.toFixed(3)}`,
    `held-out images: ${bitsPerDim.toFixed(3)} bits/dim`,
  ];
}

/** 83 → "1 min 23 s". */
export function duration(seconds: number): string {
  if (!Number.isFinite(seconds)) return "?";
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  if (h > 0) return `${h} h ${m} min`;
  return m > 0 ? `${m} min ${s} s` : `${s} s`;
}
