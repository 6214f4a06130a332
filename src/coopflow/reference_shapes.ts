/** The configuration that a reference file's tensors were made with, as far as their names and shapes tell. */
import { FLOW_CELEBA64 } from "../flow/config.ts";
import type { CoopFlowConfigInput } from "./config.ts";
import type { ReferenceFile, StoredNetwork } from "./reference_file.ts";

type FlowInput = NonNullable<CoopFlowConfigInput["flow"]>;
type DataInput = NonNullable<CoopFlowConfigInput["data"]>;
type EnergyInput = NonNullable<CoopFlowConfigInput["energy"]>;

/** Side of what the last convolution of an energy network sees. */
const END = 4;

/** Reads a configuration off the names and shapes; what they do not tell is left to its default. */
export function configOfShapes({ flow, ebm }: ReferenceFile): CoopFlowConfigInput {
  const ofFlow = flow ? flowOf(flow) : undefined;
  const ofEnergy = ebm ? energyOf(ebm) : undefined;
  return {
    data: { ...ofFlow?.data, ...ofEnergy?.data },
    ...(ofFlow ? { flow: ofFlow.flow } : {}),
    ...(ofEnergy ? { energy: ofEnergy.energy } : {}),
  };
}

/** How many different numbers stand at the place of `(\d+)`. */
function count(network: StoredNetwork, pattern: RegExp): number {
  return new Set([...network.keys()].flatMap((name) => pattern.exec(name)?.[1] ?? [])).size;
}

function flowOf(network: StoredNetwork): { flow: FlowInput; data: DataInput } {
  const names = [...network.keys()];
  const size = (pattern: RegExp, axis: number): number | undefined => {
    const name = names.find((n) => pattern.test(n));
    return name === undefined ? undefined : network.get(name)?.shape[axis];
  };
  const depth = Math.max(0, ...names.map((name) => (/^flows((?:\.next)*)\./.exec(name)?.[1] ?? "").length / 5));
  const couplings = (level: number, group: string): number =>
    count(network, new RegExp(`^flows${"\\.next".repeat(level)}\\.${group}\\.(\\d+)\\.nn\\.`));
  const scales = Array.from(
    { length: depth + 1 },
    (_, level): [number, number] => [couplings(level, "channels"), couplings(level, "checkers")],
  );
  const half = size(/^flows\..*nn\.in_conv\.conv\.weight_v$/, 1);
  const outputs = size(/^flows\..*nn\.out_conv\.conv\.weight_v$/, 0);
  const input = size(/^dequant_flows\.aux_conv\.0\.weight$/, 1);
  const invConv = names.some((name) => /\.1\.weight$/.test(name) && network.get(name)?.shape.length === 2);
  const has = (pattern: RegExp): boolean => names.some((name) => pattern.test(name));
  const channels = size(/nn\.in_conv\.conv\.weight_v$/, 0);
  return {
    data: {
      ...(input === undefined ? {} : { channels: input / 2 as 1 | 3 }),
      ...(invConv ? {} : { height: FLOW_CELEBA64.height, width: FLOW_CELEBA64.width }),
    },
    flow: {
      scales,
      invConv,
      // The one variant without 1×1 convolutions is the 64×64 one.
      ...(invConv ? {} : { dropout: FLOW_CELEBA64.dropout }),
      ...(channels === undefined ? {} : { channels }),
      ...(half === undefined || outputs === undefined ? {} : couplingOf(outputs / half)),
      blocks: count(network, /^flows\..*nn\.mid_convs\.(\d+)\./),
      attention: has(/^flows\..*\.attn\./),
      dequantization: has(/^dequant_flows\./) ? "variational" : "uniform",
      dequantBlocks: count(network, /^dequant_flows\..*nn\.mid_convs\.(\d+)\./),
      dequantAttention: has(/^dequant_flows\..*\.attn\./),
    },
  };
}

/** What couplings are by how many numbers their networks give for each element: a shift, a log-scale and a shift, or those and a mixture. */
function couplingOf(outputs: number): Pick<FlowInput, "coupling" | "components"> {
  if (outputs === 1) return { coupling: "additive" };
  return outputs === 2 ? { coupling: "affine" } : { coupling: "mixture", components: (outputs - 2) / 3 };
}

/** Sides halve in each block, strided convolution or level; the last level with spectral norm does not halve them. */
function energyOf(network: StoredNetwork): { energy: EnergyInput; data: DataInput } {
  const blocks = count(network, /^f\.(\d+)\.conv1\.weight$/);
  const strided = count(network, /^f\.(\d+)\.weight$/) - 2;
  const levels = count(network, /^res_levels\.(\d+)\./);
  const kinds = [
    { kind: "spectral", stem: "conv_in.weight_orig", halvings: levels - 1 },
    { kind: "deep", stem: "conv_in.weight", halvings: levels },
    {
      kind: blocks > 0 || strided === 0 ? "res" : "plain",
      stem: "f.0.weight",
      halvings: blocks > 0 ? blocks : strided,
    },
  ] as const;
  const found = kinds.find(({ stem }) => network.has(stem));
  if (!found) return { energy: {}, data: {} };
  const side = END * 2 ** Math.max(0, found.halvings);
  const [channels, channelsIn] = network.get(found.stem)?.shape ?? [];
  return {
    data: { height: side, width: side, channels: channelsIn as 1 | 3 },
    energy: {
      kind: found.kind,
      channels: channels!,
      ...(levels > 0 ? { blocks: count(network, /^res_levels\.0\.(\d+)\./) } : {}),
      shift: network.has("A"),
    },
  };
}
