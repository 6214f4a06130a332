/** The lowered form: instructions over windows of buffers. */
import type { DType, Layout, Shape } from "../graph/shape.ts";
import type { ProgramOp } from "./opcodes.ts";

/** Memory that instructions read and write. Sizes count four-byte elements. */
export interface Buffer {
  readonly id: number;
  readonly kind: "state" | "feed" | "fetch" | "constant" | "arena";
  readonly dtype: DType;
  readonly size: number;
  readonly name: string;
  readonly shape: Shape;
  readonly data?: Float32Array;
}

/** A strided window on a buffer; `loops[k]` is added per iteration of the enclosing repeat at level k. */
export interface Window {
  readonly buffer: Buffer;
  readonly layout: Layout;
  readonly loops: readonly number[];
}

/** One instruction. A repeat's body is the `body` instructions that follow it. */
export interface Instr {
  readonly op: ProgramOp;
  readonly name: string;
  readonly inputs: readonly Window[];
  readonly outputs: readonly Window[];
  readonly attrs: readonly number[];
  readonly body: number;
}

/** A lowered computation. Instructions from `commit` on write states and are never cancelled. */
export interface Lowered {
  readonly buffers: readonly Buffer[];
  readonly instrs: readonly Instr[];
  readonly commit: number;
}

const scratch = new DataView(new ArrayBuffer(4));

/** Bit pattern of a float32. */
export function floatBits(value: number): number {
  scratch.setFloat32(0, value);
  return scratch.getUint32(0);
}
