/** A failure of set-up or build that a person can act on: the message is all that is shown, without a stack. */
export class SetupError extends Error {
  override readonly name: string = "SetupError";
}

/** native/ did not compile: the tests can still say so and go on. */
export class BuildError extends SetupError {
  override readonly name = "BuildError";
}

/** Arguments that a script has no use for: exit code 2. */
export class WrongUsage extends SetupError {
  override readonly name = "WrongUsage";
}

/**
 * Runs a script's main function: its result is the exit code, a SetupError is shown as one message.
 *
 * @param help printed instead if the arguments ask for it
 */
export async function runScript(main: () => Promise<number>, help?: string): Promise<never> {
  if (help !== undefined && Deno.args.some((arg) => arg === "--help" || arg === "-h")) {
    console.log(help);
    Deno.exit(0);
  }
  try {
    Deno.exit(await main());
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    console.error(error.message);
    Deno.exit(error instanceof WrongUsage ? 2 : 1);
  }
}
