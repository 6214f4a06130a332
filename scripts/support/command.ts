// Running other programs.

/** What a finished program left behind. */
export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CommandOptions {
  readonly cwd?: string;
  readonly env?: Record<string, string>;
  readonly stdin?: string;
}

/** Runs a program to its end; `undefined` when there is no such program. */
export async function tryCommand(
  program: string,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<CommandResult | undefined> {
  const { stdin, ...rest } = options;
  let child: Deno.ChildProcess;
  try {
    child = new Deno.Command(program, {
      ...rest,
      args: [...args],
      stdin: stdin === undefined ? "null" : "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.PermissionDenied) return undefined;
    throw error;
  }
  if (stdin !== undefined) {
    const writer = child.stdin.getWriter();
    await writer.write(new TextEncoder().encode(stdin));
    await writer.close();
  }
  const { code, stdout, stderr } = await child.output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

/** Runs a program with its output appended to a log file; resolves to its exit code. */
export async function runLogged(
  log: string,
  program: string,
  args: readonly string[],
  options: Omit<CommandOptions, "stdin"> = {},
): Promise<number> {
  await Deno.writeTextFile(log, `$ ${program} ${args.join(" ")}\n`, { append: true });
  const child = new Deno.Command(program, {
    ...options,
    args: [...args],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const append = async (stream: ReadableStream<Uint8Array>) => {
    for await (const chunk of stream) await Deno.writeFile(log, chunk, { append: true });
  };
  const [status] = await Promise.all([child.status, append(child.stdout), append(child.stderr)]);
  return status.code;
}

/** What of a log to show when something failed: from the first line that looks like an error, else the last lines. */
export async function logExcerpt(log: string, lines: number): Promise<string> {
  const all = (await Deno.readTextFile(log)).trimEnd().split("\n");
  const first = all.findIndex((line) => /^FAILED: |^CMake Error|\berror: /.test(line));
  return first < 0 ? all.slice(-lines).join("\n") : all.slice(first, first + lines).join("\n");
}
