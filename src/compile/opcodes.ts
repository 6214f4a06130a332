/** The instruction set of programs: twin of native/src/program/ops.h. The hash pins the two to each other. */
import type { ExprOp } from "../graph/expr.ts";

/** Program instructions and their codes. */
export const OPCODES = {
  map: 1,
  reduce: 2,
  matmul: 3,
  conv: 4,
  conv_data_grad: 5,
  conv_weight_grad: 6,
  winograd_weights: 7,
  random: 8,
  layer_norm: 9,
  layer_norm_grad: 10,
  attention: 11,
  attention_grad: 12,
  mixture: 13,
  mixture_grad: 14,
  mixture_inverse: 15,
  matrix_inverse: 16,
  log_abs_det: 17,
  repeat: 18,
} as const;

/** Name of a program instruction. */
export type ProgramOp = keyof typeof OPCODES;

/** Codes of the expression language. */
export const EXPR_CODES: { readonly [K in ExprOp]: number } = {
  add: 1,
  sub: 2,
  mul: 3,
  div: 4,
  neg: 5,
  abs: 6,
  max: 7,
  min: 8,
  exp: 9,
  log: 10,
  expm1: 11,
  log1p: 12,
  sqrt: 13,
  rsqrt: 14,
  recip: 15,
  tanh: 16,
  sigmoid: 17,
  softplus: 18,
  lt: 19,
  le: 20,
  eq: 21,
  select: 22,
  is_finite: 23,
  floor: 24,
  elu: 25,
};

/** Version of the encoding and of the C ABI. */
export const ABI_VERSION = 1;

/** Raised by one whenever an instruction's operands, attributes or meaning change. */
const REVISION = 3;

/** FNV-1a (64 bit) of the two tables and the revision: native/src/program/op_table_hash.h holds the same number. */
export const OP_TABLE_HASH: bigint = (() => {
  const text = JSON.stringify([REVISION, OPCODES, EXPR_CODES]);
  let hash = 0xcbf29ce484222325n;
  for (const byte of new TextEncoder().encode(text)) {
    hash = ((hash ^ BigInt(byte)) * 0x100000001b3n) & 0xffffffffffffffffn;
  }
  return hash;
})();

/** Limits of one fused map: what the native tile interpreter accepts. */
export const MAX_MAP_INPUTS = 16;
export const MAX_MAP_OUTPUTS = 8;
