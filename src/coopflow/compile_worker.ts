/** The thread that compiles one program: its heap, hundreds of megabytes at the paper's size, goes with it. */
import { parentPort, workerData } from "node:worker_threads";
import type { CompileWork } from "./compile_request.ts";
import { compileOptionsOf } from "./model_programs.ts";
import { cachedProgram } from "./program_cache.ts";
import { buildProgram } from "./program_request.ts";

const { request, device, fresh } = workerData as CompileWork;
const entry = await cachedProgram(buildProgram(request).graph, { ...compileOptionsOf(request.config, device), fresh });
parentPort?.postMessage(entry, [entry.bytes.buffer]);
