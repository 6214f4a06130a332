import { buildInfo } from "../../src/runtime/device.ts";

// The library stays open as long as the process, so it is opened before a test begins, which would call it a leak.
buildInfo();

/** One thread: models this small gain nothing from more, and machines that run tests are busy. */
export const THREADS = { threads: 1 } as const;
