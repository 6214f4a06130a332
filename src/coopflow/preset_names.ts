/** Names of the ready-made configurations: the command line lists them without building any. */
export const PRESET_NAMES = [
  "digits",
  "digits-pre",
  "digits-long",
  "small",
  "paper",
  "cifar10",
  "cifar10-pre",
  "cifar10-long",
  "svhn",
  "svhn-pre",
  "celeba32",
  "celeba32-pre",
  "celeba64",
] as const;
/** One of them. */
export type PresetName = typeof PRESET_NAMES[number];

/** Those that begin with a flow which was trained alone: CoopFlow(Pre). */
export const PRE_PRESETS: ReadonlySet<string> = new Set<PresetName>([
  "digits-pre",
  "cifar10-pre",
  "svhn-pre",
  "celeba32-pre",
]);
