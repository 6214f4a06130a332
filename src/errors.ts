/**
 * The error classes of the library. Every error it throws on purpose is a {@linkcode CoopFlowError}; anything else
 * that escapes is a defect.
 *
 * Messages say what was expected, what was found and what to do about it, and end without a period.
 */

/** Base of all errors that the library throws on purpose. */
export class CoopFlowError extends Error {
  override name = "CoopFlowError";
}

/** A wrong argument, option or combination of them: the caller can mend it (exit code 2). */
export class UsageError extends CoopFlowError {
  override name = "UsageError";
}

/** A configuration value that is missing, unknown or out of range (exit code 2). */
export class ConfigError extends UsageError {
  override name = "ConfigError";
  /** The field, as a path of names and positions: `flow.scales.0.channels`; empty for the whole configuration. */
  readonly field: string;

  /**
   * @param field path of the offending field
   * @param message what was expected and found, without the field: it is put in front
   */
  constructor(field: string, message: string, options?: ErrorOptions) {
    super(field === "" ? message : `${field}: ${message}`, options);
    this.field = field;
  }
}

/** Data (images, features, a data file) that is missing, malformed, empty or not finite. */
export class DataError extends CoopFlowError {
  override name = "DataError";
}

/** A checkpoint that is missing, torn, corrupt or made for another model. */
export class CheckpointError extends CoopFlowError {
  override name = "CheckpointError";
}

/** Shapes or types that do not fit together in a graph. */
export class ShapeError extends CoopFlowError {
  override name = "ShapeError";
}

/** The native library refused or failed. */
export class NativeError extends CoopFlowError {
  override name = "NativeError";
  /** The status code of the C interface, never 0. */
  readonly code: number;
  /** The operation or function that failed. */
  readonly op: string;

  constructor(code: number, op: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.op = op;
  }
}

/** The work was cancelled (Ctrl-C, SIGTERM or an abort signal) before it was done (exit code 130). */
export class CancelledError extends CoopFlowError {
  override name = "CancelledError";
}

/** A class of {@linkcode CoopFlowError}s that is made from a message alone. */
export type ErrorClass = new (message: string, options?: ErrorOptions) => CoopFlowError;

/**
 * The exit code of a command that ended with `error`: 0 none (`undefined`), 130 cancelled, 2 wrong usage or
 * configuration, 1 everything else.
 */
export function exitCode(error: unknown): 0 | 1 | 2 | 130 {
  if (error === undefined) return 0;
  if (error instanceof CancelledError) return 130;
  return error instanceof UsageError ? 2 : 1;
}
