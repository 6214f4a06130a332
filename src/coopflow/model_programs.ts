/** The graphs of a configuration's programs. */
import type { CompileOptions } from "../compile/compile.ts";
import type { DeviceCompileOptions } from "../runtime/device.ts";
import type { CoopFlowConfig } from "./config.ts";
import { energyConfigOf, flowConfigOf } from "./config.ts";
import { chain, CHAIN_PART } from "./programs/chain.ts";
import { density } from "./programs/density.ts";
import { initialise } from "./programs/initialise.ts";
import { learn, type LearnConfig } from "./programs/learn.ts";
import { learnGradients, learnStep, pretrainGradients, pretrainStep } from "./programs/accumulate.ts";
import type { AdamOptions } from "../optim/adam.ts";
import type { OptimizerSettings } from "./schedule.ts";
import type { Averaged, ChainConfig, ModelConfig, ModelProgram } from "./programs/program.ts";
import { moments } from "./programs/moments.ts";
import { pretrain, type PretrainConfig } from "./programs/pretrain.ts";
import { reconstruct } from "./programs/reconstruct.ts";
import { sample } from "./programs/sample.ts";
import type { FlowOptimizerConfig, OptimizerConfig } from "./programs/updates.ts";

/** How the configuration's programs are compiled, for a device that can do what `device` says. */
export function compileOptionsOf(
  { compute: { winograd } }: CoopFlowConfig,
  device: DeviceCompileOptions = { winograd: true },
): CompileOptions {
  return { ...device, winograd: winograd && device.winograd };
}

/** Both networks. */
export function modelConfigOf(config: CoopFlowConfig): ModelConfig {
  return { flow: flowConfigOf(config), energy: energyConfigOf(config) };
}

/** Whether each step of a chain has a δ of its own. */
function scheduledOf({ langevin }: Pick<CoopFlowConfig, "langevin">): Pick<ChainConfig, "scheduled"> {
  return langevin.schedule === "constant" ? {} : { scheduled: true };
}

/** The compiled-in part of the Langevin chain. */
export function chainConfigOf({ langevin }: Pick<CoopFlowConfig, "langevin">): ChainConfig {
  const { steps, noise, metropolis, moveClamp, range } = langevin;
  return {
    steps,
    noise,
    ...(metropolis ? { metropolis } : {}),
    ...scheduledOf({ langevin }),
    ...(moveClamp === "off" ? {} : { moveClamp }),
    ...(range === "off" ? {} : { range }),
  };
}

function adamOf({ betas: [beta1, beta2], eps: epsilon, clipValue, decoupledDecay }: OptimizerSettings): AdamOptions {
  return { beta1, beta2, epsilon, decoupledDecay, ...(clipValue === "off" ? {} : { clipValue }) };
}

/** The part of a configuration that describes the optimizers. */
interface Optimized {
  readonly training: Pick<CoopFlowConfig["training"], "flow" | "ebm" | "averaging">;
}

/** The compiled-in part of the flow's optimizer. */
export function flowOptimizerOf({ training: { flow, averaging } }: Optimized): FlowOptimizerConfig {
  const { gainDecay, clipBy: clip } = flow;
  return { ...adamOf(flow), gainDecay, clip, average: averaging.flow !== "off" };
}

/** The compiled-in part of the EBM's optimizer. */
export function energyOptimizerOf({ training: { ebm, averaging } }: Optimized): OptimizerConfig {
  return { ...adamOf(ebm), average: averaging.ebm !== "off" };
}

function pretrainConfigOf(config: CoopFlowConfig): PretrainConfig {
  const { batch, recompute } = config.training;
  return { flow: flowConfigOf(config), batch, recompute, flowOptimizer: flowOptimizerOf(config) };
}

function learnConfigOf(config: CoopFlowConfig, alone: boolean): LearnConfig {
  const { phase, chains, batch, recompute, ebm: { magnitude } } = config.training;
  return {
    start: phase === "ebm" ? chains : "proposals",
    flowUpdate: phase === "coop" && !alone,
    ...modelConfigOf(config),
    batch,
    chain: chainConfigOf(config),
    flowOptimizer: flowOptimizerOf(config),
    energyOptimizer: energyOptimizerOf(config),
    magnitude,
    recompute,
  };
}

/**
 * One learning iteration of the configuration's phase, or with accumulation the gradients of a micro-batch of it; of phase coop only the EBM's part, if
 * that is `alone`.
 */
export function learnProgram(config: CoopFlowConfig, alone = false): ModelProgram {
  const { phase, accumulate } = config.training;
  if (phase === "flow") return (accumulate > 1 ? pretrainGradients : pretrain)(pretrainConfigOf(config));
  return (accumulate > 1 ? learnGradients : learn)(learnConfigOf(config, alone));
}

/** The step along the gradients of an iteration's micro-batches. */
export function stepProgram(config: CoopFlowConfig, alone = false): ModelProgram {
  const { phase, accumulate } = config.training;
  if (phase === "flow") return pretrainStep(pretrainConfigOf(config), accumulate);
  return learnStep(learnConfigOf(config, alone), accumulate);
}

/** The data-dependent initialisation on `images` images. */
export function initialiseProgram(config: CoopFlowConfig, images: number): ModelProgram {
  return initialise({ flow: flowConfigOf(config), batch: images });
}

/** A batch of samples, with the chains' states if asked for. */
export function sampleProgram(config: CoopFlowConfig, averaged: Averaged, trajectory: boolean): ModelProgram {
  const { phase } = config.training;
  return sample({
    ...modelConfigOf(config),
    batch: config.training.batch,
    chain: chainConfigOf(config),
    averaged,
    undoBound: config.sampling.undoBound,
    start: phase === "ebm" ? "noise" : "proposals",
    revise: phase !== "flow",
    trajectory,
  });
}

/** What both flows make of given latents, without clamps and noise. */
export function decodeProgram(config: CoopFlowConfig, averaged: Averaged): ModelProgram {
  return sample({
    ...modelConfigOf(config),
    batch: config.training.batch,
    chain: { steps: config.langevin.steps, noise: false, ...scheduledOf(config) },
    averaged,
    undoBound: config.sampling.undoBound,
    given: ["z"],
  });
}

/** One step of the search for the Langevin flow's start. */
export function reconstructProgram(
  config: CoopFlowConfig,
  averaged: Averaged,
  images: { readonly batch: number; readonly masked: boolean },
): ModelProgram {
  return reconstruct({
    ...images,
    energy: energyConfigOf(config),
    steps: config.langevin.steps,
    ...scheduledOf(config),
    averaged: averaged.energy ?? false,
  });
}

/** Likelihoods and energies of a batch of images. */
export function densityProgram(config: CoopFlowConfig, averaged: Averaged): ModelProgram {
  return density({ ...modelConfigOf(config), batch: config.training.batch, averaged });
}

/** A part of a Langevin chain, with what each step does. */
export function chainProgram(config: CoopFlowConfig, averaged: Averaged): ModelProgram {
  return chain({
    energy: energyConfigOf(config),
    batch: config.training.batch,
    chain: { ...chainConfigOf(config), steps: CHAIN_PART },
    averaged: averaged.energy ?? false,
  });
}

/** Gradients of the energies' sum with respect to each trained tensor. */
export function momentsProgram(config: CoopFlowConfig, averaged: Averaged): ModelProgram {
  return moments({
    energy: energyConfigOf(config),
    batch: config.training.batch,
    averaged: averaged.energy ?? false,
  });
}
