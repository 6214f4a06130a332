/** What to do when a program does not fit a device's memory. */
import { arenaBytesOf } from "../compile/encode.ts";
import { NativeError } from "../errors.ts";
import type { DeviceInfo } from "../runtime/device.ts";
import { STATUS } from "../runtime/library.ts";
import type { CachedProgram } from "./program_cache.ts";
import type { ProgramRequest } from "./program_request.ts";

/** Of the free memory, what the estimate may be wrong by. */
const RESERVED = 0.02;

/** A program that does not fit, and where. */
export interface Refused {
  readonly batch: number;
  /** Bytes that it needed, scratch, feeds and fetches included. */
  readonly needed: number;
  /** Bytes that there are. */
  readonly free: number;
  /** Bytes of temporaries in its plan at a batch. */
  readonly arena: (batch: number) => Promise<number>;
}

/**
 * The largest batch at which a program would fit, estimated: temporaries are c₀ + c₁·batch, plans at two batches tell both, and what is needed beside them grows
 * as they do. 0 if not even one image would fit.
 */
export async function batchThatFits({ batch, needed, free, arena }: Refused): Promise<number> {
  const half = Math.max(1, Math.floor(batch / 2));
  if (half === batch) return 0;
  const [at, atHalf] = [await arena(batch), await arena(half)];
  const each = (at - atHalf) / (batch - half);
  const room = (1 - RESERVED) * free * at / Math.max(needed, at);
  return each > 0 ? Math.max(0, Math.min(batch - 1, Math.floor((room - (at - each * batch)) / each))) : 0;
}

/** The same error; if it is that memory was too small for a program of a configuration's batch, with what would help. */
export async function withAdvice(
  error: unknown,
  request: ProgramRequest,
  { device_free_bytes: free, refused_bytes: needed }: Pick<DeviceInfo, "device_free_bytes" | "refused_bytes">,
  compile: (request: ProgramRequest) => Promise<CachedProgram>,
): Promise<unknown> {
  const known = error instanceof NativeError && error.code === STATUS.outOfMemory && needed > 0 && free > 0;
  // These have sizes of their own.
  if (!known || request.kind === "initialise" || request.kind === "reconstruct") return error;
  const { config } = request;
  const { batch, recompute } = config.training;
  const arena = async (batch: number): Promise<number> => {
    const smaller = { ...config, training: { ...config.training, batch } };
    return arenaBytesOf((await compile({ ...request, config: smaller })).bytes);
  };
  const fits = await batchThatFits({ batch, needed, free, arena });
  const advice = [
    fits > 0 ? `a batch of ${fits} would fit (training.batch=${fits}; it is ${batch})` : "no batch would fit",
    ...(recompute || request.kind !== "learn" ? [] : ["training.recompute=true needs less"]),
  ];
  return new NativeError(error.code, error.op, `${error.message}. What fits: ${advice.join("; ")}`, { cause: error });
}
