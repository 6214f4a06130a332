/** Programs by description: plain data that another thread can build the graph from. */
import type { CoopFlowConfig } from "./config.ts";
import { densityProgram, initialiseProgram, learnProgram, sampleProgram } from "./model_programs.ts";
import { type Phase, phaseProgram } from "./phases.ts";
import type { Averaged, ModelProgram } from "./programs/program.ts";

/** What to compile. */
export type ProgramRequest =
  & { readonly config: CoopFlowConfig }
  & (
    | { readonly kind: "learn" }
    | { readonly kind: "initialise"; readonly images: number }
    | { readonly kind: "sample"; readonly averaged: Averaged }
    | { readonly kind: "density"; readonly averaged: Averaged }
    | { readonly kind: "phase"; readonly phase: Phase }
  );

/** The program's graph. */
export function buildProgram(request: ProgramRequest): ModelProgram {
  const { config } = request;
  switch (request.kind) {
    case "learn":
      return learnProgram(config);
    case "initialise":
      return initialiseProgram(config, request.images);
    case "sample":
      return sampleProgram(config, request.averaged);
    case "density":
      return densityProgram(config, request.averaged);
    case "phase":
      return phaseProgram(config, request.phase);
  }
}
