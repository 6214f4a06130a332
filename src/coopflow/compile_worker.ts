/** The thread that compiles one program: its heap, hundreds of megabytes at the paper's size, goes with it. */
import { parentPort, workerData } from "node:worker_threads";
import { compileOptionsOf } from "./model_programs.ts";
import { cachedProgram } from "./program_cache.ts";
import { buildProgram, type ProgramRequest } from "./program_request.ts";

const { request, fresh } = workerData as { readonly request: ProgramRequest; readonly fresh: boolean };
const entry = await cachedProgram(buildProgram(request).graph, { ...compileOptionsOf(request.config), fresh });
parentPort?.postMessage(entry, [entry.bytes.buffer]);
