/** `checkpoint`: a file that the reference program saved, and beside it what it holds. */
import { stat } from "node:fs/promises";
import { basename } from "node:path";
import { importReference } from "../../coopflow/reference_import.ts";
import { type CoopFlowConfig, energyConfigOf, flowConfigOf } from "../../coopflow/config.ts";
import type { Check } from "./compare.ts";
import { energyConfig, fieldsOf, flowConfig } from "./configs.ts";
import { type Execute, SkippedCase } from "./execute.ts";
import type { Golden } from "./golden.ts";
import { TOLERANCES } from "./tolerances.ts";

/** Numbers of a configuration, in the order of its fields. */
function numbers(config: object): number[] {
  return Object.entries(config).sort().flatMap(([, value]) =>
    typeof value === "object" ? [value].flat(3).map(Number) : typeof value === "string" ? [] : [Number(value)]
  );
}

/** Every tensor to the last bit, and the configuration that the names and shapes tell. */
export async function checkpoint(golden: Golden, _: Execute): Promise<Check[]> {
  const path = golden.path.replace(/\.safetensors$/, ".pth.tar");
  const exists = await stat(path).then(() => true, () => false);
  if (!exists) throw new SkippedCase(`expected ${basename(path)} beside it, found none`);
  const { checkpoint: { config, values } } = await importReference(path);
  const tolerance = TOLERANCES.stored;
  return [
    ...golden.names("").map((name): Check => ({
      name,
      found: values.get(name) ?? [],
      expected: golden.tensor(name).data,
      tolerance,
    })),
    ...configChecks(golden, config).map((check) => ({ ...check, tolerance })),
  ];
}

function configChecks(golden: Golden, config: CoopFlowConfig): Omit<Check, "tolerance">[] {
  // Dropout leaves no trace in a checkpoint.
  const flow = { ...flowConfigOf(config), dropout: 0 };
  return [
    { name: "flow", found: numbers(flow), expected: numbers(flowConfig(fieldsOf(golden.setting("flow"), "flow"))) },
    {
      name: "ebm",
      found: numbers(energyConfigOf(config)),
      expected: numbers(energyConfig(fieldsOf(golden.setting("ebm"), "ebm"))),
    },
  ];
}
