/** A failure of set-up or build that a person can act on: the message is all that is shown, without a stack. */
export class SetupError extends Error {
  override readonly name: string = "SetupError";
}

/** native/ did not compile: the tests can still say so and go on. */
export class BuildError extends SetupError {
  override readonly name = "BuildError";
}

/** Runs a script's main function: its result is the exit code, a SetupError is shown as one message. */
export async function runScript(main: () => Promise<number>): Promise<never> {
  try {
    Deno.exit(await main());
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    console.error(error.message);
    Deno.exit(1);
  }
}
