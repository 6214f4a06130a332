/** Which file is what kind of case. */
import { actNormInit, coupling, dequantizer, flow, flowCeleba, invertibleConv, simpleCoupling } from "./bijectors.ts";
import { checkpoint } from "./checkpoint.ts";
import type { Check } from "./compare.ts";
import { energyDeepBlock, energyPlain, energyRes, energySnBlock, langevin } from "./energies.ts";
import type { Execute } from "./execute.ts";
import type { Golden } from "./golden.ts";
import { convAttnBlock, couplingNetwork, gatedAttention, gatedConv, reshapes } from "./layers.ts";
import { learning } from "./learning.ts";
import { mixture } from "./mixture.ts";
import { paper } from "./paper.ts";
import { accumulate, magnitude, mala } from "./recipes.ts";
import { reconstruct } from "./reconstruct.ts";

/** Runs one case. */
export type RunCase = (golden: Golden, execute: Execute) => Promise<Check[]>;

/** Kinds of cases. */
const KINDS: Readonly<Record<string, RunCase>> = {
  accumulate,
  actnorm_init: actNormInit,
  checkpoint,
  conv_attn_block: convAttnBlock,
  coupling,
  coupling_additive: simpleCoupling("additive"),
  coupling_affine: simpleCoupling("affine"),
  coupling_network: couplingNetwork,
  dequantizer,
  energy_deep_block: energyDeepBlock,
  energy_plain: energyPlain,
  energy_res: energyRes,
  energy_sn_block: energySnBlock,
  flow,
  flow_celeba: flowCeleba,
  gated_attention: gatedAttention,
  gated_conv: gatedConv,
  gated_conv_aux: gatedConv,
  invertible_conv: invertibleConv,
  langevin,
  learning,
  magnitude,
  mala,
  mixture_sharp: mixture,
  mixture_smooth: mixture,
  paper,
  reconstruct,
  reshapes,
};

/** The kind of the case `name`: the longest kind that the name is, or begins with before a separator (`flow_seed7`, `flow-2`). */
export function kindOf(name: string): { kind: string; run: RunCase } | undefined {
  const fits = Object.keys(KINDS).filter((kind) =>
    name === kind || (name.startsWith(kind) && /^[^a-z]/i.test(name.slice(kind.length)))
  );
  const kind = fits.sort((a, b) => b.length - a.length)[0];
  return kind === undefined ? undefined : { kind, run: KINDS[kind]! };
}
