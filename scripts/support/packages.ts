// What the native build needs from the system, and how to get it.

import { runLogged, tryCommand } from "./command.ts";
import { compilerCommand, dnnlVersion } from "./toolchain.ts";
import { SetupError } from "./setup_error.ts";

export interface Requirement {
  /** Its name in Debian and Ubuntu. */
  readonly package: string;
  readonly why: string;
  isPresent(): Promise<boolean>;
}

export const REQUIREMENTS: readonly Requirement[] = [
  {
    package: "g++",
    why: "compiles the native library (C++17)",
    isPresent: () => hasCommand(compilerCommand().program),
  },
  { package: "cmake", why: "configures the native build", isPresent: () => hasCommand("cmake") },
  {
    package: "make",
    why: "runs the native build",
    isPresent: async () => await hasCommand("make") || await hasCommand("ninja"),
  },
  {
    package: "libdnnl-dev",
    why: "oneDNN: convolutions and matrix products on the CPU",
    isPresent: async () => await dnnlVersion() !== undefined,
  },
];

async function hasCommand(name: string): Promise<boolean> {
  return await tryCommand(name, ["--version"]) !== undefined;
}

/** Those of the requirements that this machine lacks. */
export async function findMissing(requirements: readonly Requirement[] = REQUIREMENTS): Promise<Requirement[]> {
  const present = await Promise.all(requirements.map((r) => r.isPresent()));
  return requirements.filter((_, i) => !present[i]);
}

export function installCommand(missing: readonly Requirement[]): string {
  return `apt-get install -y --no-install-recommends ${missing.map((m) => m.package).join(" ")}`;
}

/** The one line for a machine where nothing may or can be installed. */
export function missingMessage(missing: readonly Requirement[], reason: string): string {
  const names = missing.map((m) => m.package).join(", ");
  return `coopflow set-up: this machine lacks ${names}, and ${reason}; install with: ${installCommand(missing)}`;
}

/**
 * Installs what is missing through apt, after saying what and why.
 *
 * @throws SetupError with the exact command when it may not (`allowed` is false) or can't
 */
export async function installMissing(
  missing: readonly Requirement[],
  options: { readonly allowed: boolean; readonly log: string; readonly say: (line: string) => void },
): Promise<void> {
  const { allowed, log, say } = options;
  if (!allowed) throw new SetupError(missingMessage(missing, "may not install (--no-install)"));
  if (!await hasCommand("apt-get")) {
    throw new SetupError(missingMessage(missing, "has no apt-get (the names are Debian's)"));
  }
  const prefix = await rootPrefix();
  if (prefix === undefined) {
    throw new SetupError(missingMessage(missing, "installing needs root or sudo without a password"));
  }

  say("coopflow set-up: this machine lacks");
  const width = Math.max(...missing.map((m) => m.package.length));
  for (const { package: name, why } of missing) say(`  ${name.padEnd(width)}  ${why}`);
  say(`installing (about a minute): ${[...prefix, installCommand(missing)].join(" ")}`);

  // Through `env`, because sudo drops variables of its caller.
  const [program = "env", ...first] = [...prefix, "env", "DEBIAN_FRONTEND=noninteractive"];
  const update = await runLogged(log, program, [...first, "apt-get", "update"]);
  const install = await runLogged(log, program, [...first, ...installCommand(missing).split(" ")]);
  if (install !== 0) {
    const hint = update === 0 ? "" : " (apt-get update failed too: is the network there?)";
    throw new SetupError(
      `coopflow set-up: "${installCommand(missing)}" failed with exit code ${install}${hint}; see ${log}`,
    );
  }
  const still = await findMissing(missing);
  if (still.length > 0) throw new SetupError(missingMessage(still, "installing did not bring it"));
}

/** What to put before a command that needs root: nothing for root, sudo where it asks no password. */
async function rootPrefix(): Promise<string[] | undefined> {
  if (Deno.uid() === 0) return [];
  const sudo = await tryCommand("sudo", ["-n", "true"]);
  return sudo?.code === 0 ? ["sudo", "-n"] : undefined;
}
