/** Programs by description: plain data that another thread can build the graph from. */
import type { CoopFlowConfig } from "./config.ts";
import {
  chainProgram,
  decodeProgram,
  densityProgram,
  initialiseProgram,
  learnProgram,
  momentsProgram,
  reconstructProgram,
  sampleProgram,
  stepProgram,
} from "./model_programs.ts";
import { type Phase, phaseProgram } from "./phases.ts";
import type { Averaged, ModelProgram } from "./programs/program.ts";
import type { LearnKind } from "./schedule.ts";

/** What to compile. */
export type ProgramRequest =
  & { readonly config: CoopFlowConfig }
  & (
    | { readonly kind: LearnKind }
    | { readonly kind: "step"; readonly of: LearnKind }
    | { readonly kind: "initialise"; readonly images: number }
    | { readonly kind: "sample"; readonly averaged: Averaged; readonly trajectory: boolean }
    | { readonly kind: "density"; readonly averaged: Averaged }
    | { readonly kind: "decode"; readonly averaged: Averaged }
    | { readonly kind: "reconstruct"; readonly averaged: Averaged; readonly batch: number; readonly masked: boolean }
    | { readonly kind: "chain"; readonly averaged: Averaged }
    | { readonly kind: "moments"; readonly averaged: Averaged }
    | { readonly kind: "phase"; readonly phase: Phase }
  );

/** The program's graph. */
export function buildProgram(request: ProgramRequest): ModelProgram {
  const { config } = request;
  switch (request.kind) {
    case "learn":
    case "learn-ebm":
      return learnProgram(config, request.kind === "learn-ebm");
    case "step":
      return stepProgram(config, request.of === "learn-ebm");
    case "initialise":
      return initialiseProgram(config, request.images);
    case "sample":
      return sampleProgram(config, request.averaged, request.trajectory);
    case "density":
      return densityProgram(config, request.averaged);
    case "decode":
      return decodeProgram(config, request.averaged);
    case "reconstruct":
      return reconstructProgram(config, request.averaged, request);
    case "chain":
      return chainProgram(config, request.averaged);
    case "moments":
      return momentsProgram(config, request.averaged);
    case "phase":
      return phaseProgram(config, request.phase);
  }
}
