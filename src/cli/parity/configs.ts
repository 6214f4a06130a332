/** Network settings as the files' metadata spells them. */
import { DataError } from "../../errors.ts";
import { ENERGY_DEFAULTS, type EnergyConfig } from "../../energy/config.ts";
import { FLOW_DEFAULTS, type FlowConfig, type ScaleCouplings } from "../../flow/config.ts";

/** Looks a setting up by name. */
export type Settings = (key: string) => unknown;

/** Settings that are the fields of an object. */
export function fieldsOf(object: unknown, what: string): Settings {
  if (typeof object !== "object" || object === null) {
    throw new DataError(`metadata "${what}": expected an object, found ${JSON.stringify(object)}`);
  }
  return (key) => Reflect.get(object, key);
}

function whole(settings: Settings, key: string): number {
  const value = settings(key);
  if (!Number.isInteger(value)) {
    throw new DataError(`metadata "${key}": expected a whole number, found ${JSON.stringify(value)}`);
  }
  return value as number;
}

function flag(settings: Settings, key: string): boolean {
  const value = settings(key);
  if (typeof value !== "boolean") {
    throw new DataError(`metadata "${key}": expected true or false, found ${JSON.stringify(value)}`);
  }
  return value;
}

function wholes(value: unknown, what: string): number[] {
  if (Array.isArray(value) && value.every((v) => Number.isInteger(v))) return value;
  throw new DataError(`metadata "${what}": expected whole numbers, found ${JSON.stringify(value)}`);
}

/** `scales`, `in_shape` [C,H,W], `mid_channels`, …: the reference's constructor arguments. Dropout is off in the files. */
export function flowConfig(settings: Settings): FlowConfig {
  const [channelsIn, height, width] = wholes(settings("in_shape"), "in_shape");
  const scales = settings("scales");
  if (!Array.isArray(scales)) throw new DataError(`metadata "scales": expected pairs, found ${JSON.stringify(scales)}`);
  return {
    ...FLOW_DEFAULTS,
    channelsIn: channelsIn!,
    height: height!,
    width: width!,
    scales: scales.map((pair: unknown) => wholes(pair, "scales") as unknown as ScaleCouplings),
    channels: whole(settings, "mid_channels"),
    blocks: whole(settings, "num_blocks"),
    dequantBlocks: whole(settings, "num_dequant_blocks"),
    components: whole(settings, "num_components"),
    attention: flag(settings, "use_attn"),
    dropout: 0,
  };
}

/** `in_channels`, `width` (channels), `size` (pixels). */
export function energyConfig(settings: Settings): EnergyConfig {
  const size = whole(settings, "size");
  return {
    ...ENERGY_DEFAULTS,
    height: size,
    width: size,
    channelsIn: whole(settings, "in_channels"),
    channels: whole(settings, "width"),
  };
}
