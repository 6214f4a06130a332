import { describe, it } from "@std/testing/bdd";
import { assert, assertEquals } from "@std/assert";
import {
  CancelledError,
  CheckpointError,
  ConfigError,
  CoopFlowError,
  DataError,
  exitCode,
  NativeError,
  ShapeError,
  UsageError,
} from "../src/errors.ts";

describe("errors", () => {
  it("are CoopFlowErrors with a name of their own", () => {
    const errors: readonly [CoopFlowError, string][] = [
      [new CoopFlowError("m"), "CoopFlowError"],
      [new UsageError("m"), "UsageError"],
      [new ConfigError("seed", "m"), "ConfigError"],
      [new DataError("m"), "DataError"],
      [new CheckpointError("m"), "CheckpointError"],
      [new ShapeError("m"), "ShapeError"],
      [new NativeError(3, "conv2d", "m"), "NativeError"],
      [new CancelledError("m"), "CancelledError"],
    ];
    for (const [error, name] of errors) {
      assert(error instanceof CoopFlowError && error instanceof Error);
      assertEquals(error.name, name);
      assert(String(error).startsWith(`${name}: `));
    }
  });

  it("keep the cause and what belongs to the class", () => {
    const cause = new Error("disk");
    assertEquals(new DataError("m", { cause }).cause, cause);
    const native = new NativeError(7, "matmul", "out of memory");
    assertEquals([native.code, native.op, native.message], [7, "matmul", "out of memory"]);
    const config = new ConfigError("flow.channels", "expected a positive integer, got 0");
    assertEquals(config.field, "flow.channels");
    assertEquals(config.message, "flow.channels: expected a positive integer, got 0");
    assertEquals(new ConfigError("", "expected an object").message, "expected an object");
  });

  it("map to exit codes", () => {
    assertEquals(exitCode(undefined), 0);
    assertEquals(exitCode(new UsageError("m")), 2);
    assertEquals(exitCode(new ConfigError("seed", "m")), 2);
    assertEquals(exitCode(new CancelledError("m")), 130);
    for (const error of [new DataError("m"), new NativeError(1, "x", "m"), new TypeError("m"), "text", null]) {
      assertEquals(exitCode(error), 1);
    }
  });
});
