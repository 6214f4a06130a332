/**
 * Why a file operation failed, in words for a one-line message: "no such file or directory" rather than
 * "ENOENT: no such file or directory, open '/a/b'".
 */
export function systemReason(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const code = systemCode(error);
  // Node and Bun: "CODE: reason, call 'path'"; Deno's own errors name no code, or end in "(os error 2)".
  const reason = error.message.replace(/^[A-Z][A-Z0-9_]*: /, "").replace(/, \w+( '.*)?$/s, "")
    .replace(/ \(os error \d+\).*$/s, "");
  return reason === "" ? code ?? error.name : reason;
}

/** The system's error code (`"ENOENT"`, …), if the error carries one. */
export function systemCode(error: unknown): string | undefined {
  if (error instanceof Error && "code" in error && typeof error.code === "string") return error.code;
  return undefined;
}
