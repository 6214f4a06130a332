/**
 * The element-wise expression language: a small tree per output element. It is differentiated symbolically, fused with its neighbours and
 * run by a vectorised tile interpreter, so that activations, gates, Adam and the Langevin update need no kernels of their own.
 * Expressions are interned: the same expression is the same object, so sharing costs nothing and equality is identity.
 */

/** Operations, their number of operands and their float64 meaning (also used to fold constants). Codes live in `compile/opcodes.ts`. */
export const EXPR_OPS = {
  add: { arity: 2, value: (a: number, b: number): number => a + b },
  sub: { arity: 2, value: (a: number, b: number): number => a - b },
  mul: { arity: 2, value: (a: number, b: number): number => a * b },
  div: { arity: 2, value: (a: number, b: number): number => a / b },
  neg: { arity: 1, value: (a: number): number => -a },
  abs: { arity: 1, value: Math.abs },
  max: { arity: 2, value: Math.max },
  min: { arity: 2, value: Math.min },
  exp: { arity: 1, value: Math.exp },
  log: { arity: 1, value: Math.log },
  expm1: { arity: 1, value: Math.expm1 },
  log1p: { arity: 1, value: Math.log1p },
  sqrt: { arity: 1, value: Math.sqrt },
  rsqrt: { arity: 1, value: (a: number): number => 1 / Math.sqrt(a) },
  recip: { arity: 1, value: (a: number): number => 1 / a },
  tanh: { arity: 1, value: Math.tanh },
  sigmoid: { arity: 1, value: (a: number): number => 1 / (1 + Math.exp(-a)) },
  softplus: { arity: 1, value: (a: number): number => Math.max(a, 0) + Math.log1p(Math.exp(-Math.abs(a))) },
  lt: { arity: 2, value: (a: number, b: number): number => (a < b ? 1 : 0) },
  le: { arity: 2, value: (a: number, b: number): number => (a <= b ? 1 : 0) },
  eq: { arity: 2, value: (a: number, b: number): number => (a === b ? 1 : 0) },
  select: { arity: 3, value: (a: number, b: number, c: number): number => (a !== 0 ? b : c) },
  is_finite: { arity: 1, value: (a: number): number => (Number.isFinite(a) ? 1 : 0) },
  floor: { arity: 1, value: Math.floor },
  /** x for x > 0, e^x − 1 below. */
  elu: { arity: 1, value: (a: number): number => (a > 0 ? a : Math.expm1(a)) },
} as const satisfies Record<string, { arity: number; value: (...args: number[]) => number }>;

/** Name of an expression operation. */
export type ExprOp = keyof typeof EXPR_OPS;

/** An interned, immutable expression. */
export type Expr =
  | { readonly id: number; readonly kind: "input"; readonly index: number }
  | { readonly id: number; readonly kind: "const"; readonly value: number }
  | { readonly id: number; readonly kind: "op"; readonly op: ExprOp; readonly args: readonly Expr[] };

// One table for the process: expressions are few (hundreds) and tiny, and identity as equality needs one home.
const interned = new Map<string, Expr>();

type Bare<T> = T extends { readonly id: number } ? Omit<T, "id"> : never;

function intern(key: string, make: Bare<Expr>): Expr {
  let e = interned.get(key);
  if (!e) {
    e = { id: interned.size, ...make } as Expr;
    interned.set(key, e);
  }
  return e;
}

/** The `index`-th operand of the map. */
export function input(index: number): Expr {
  return intern(`i${index}`, { kind: "input", index });
}

/** A constant, rounded to float32 where it is used. */
export function constant(value: number): Expr {
  return intern(`c${Object.is(value, -0) ? "-0" : value}`, { kind: "const", value });
}

const isConst = (e: Expr, value: number): boolean => e.kind === "const" && e.value === value;

/** Algebra that loses nothing. x·0 = 0 is applied to derivatives only through constants, where no NaN can hide. */
function simplified(op: ExprOp, args: readonly Expr[]): Expr | undefined {
  const [a, b, c] = args;
  if (args.every((e) => e.kind === "const")) {
    const value = EXPR_OPS[op].value as (...v: number[]) => number;
    return constant(value(...args.map((e) => (e.kind === "const" ? e.value : NaN))));
  }
  switch (op) {
    case "add":
      return isConst(a!, 0)
        ? b
        : isConst(b!, 0)
        ? a
        : b!.kind === "op" && b!.op === "neg"
        ? apply("sub", a!, b!.args[0]!)
        : undefined;
    case "sub":
      return isConst(b!, 0) ? a : isConst(a!, 0) ? apply("neg", b!) : undefined;
    case "mul":
      if (isConst(a!, 0) || isConst(b!, 0)) return constant(0);
      if (isConst(a!, 1)) return b;
      if (isConst(b!, 1)) return a;
      if (isConst(a!, -1)) return apply("neg", b!);
      if (isConst(b!, -1)) return apply("neg", a!);
      return undefined;
    case "div":
      return isConst(b!, 1) ? a : isConst(a!, 1) ? apply("recip", b!) : isConst(a!, 0) ? constant(0) : undefined;
    case "neg":
      return a!.kind === "op" && a!.op === "neg" ? a!.args[0] : undefined;
    case "select":
      if (a!.kind === "const") return a!.value !== 0 ? b : c;
      if (b === c) return b;
      // A choice that was made already.
      if (b!.kind === "op" && b!.op === "select" && b!.args[0] === a) return apply("select", a!, b!.args[1]!, c!);
      if (c!.kind === "op" && c!.op === "select" && c!.args[0] === a) return apply("select", a!, b!, c!.args[2]!);
      return undefined;
    default:
      return undefined;
  }
}

/** Applies `op` to operands, folding constants and identities. */
export function apply(op: ExprOp, ...args: Expr[]): Expr {
  return simplified(op, args) ?? intern(`${op}(${args.map((e) => e.id)})`, { kind: "op", op, args });
}

type Num = Expr | number;
const lift = (e: Num): Expr => (typeof e === "number" ? constant(e) : e);
const unary = (op: ExprOp) => (a: Num): Expr => apply(op, lift(a));
const binary = (op: ExprOp) => (a: Num, b: Num): Expr => apply(op, lift(a), lift(b));

/** Builders, one per operation and the usual compositions; numbers are taken as constants. */
export const E = {
  add: binary("add"),
  sub: binary("sub"),
  mul: binary("mul"),
  div: binary("div"),
  neg: unary("neg"),
  abs: unary("abs"),
  max: binary("max"),
  min: binary("min"),
  exp: unary("exp"),
  log: unary("log"),
  expm1: unary("expm1"),
  log1p: unary("log1p"),
  sqrt: unary("sqrt"),
  rsqrt: unary("rsqrt"),
  recip: unary("recip"),
  tanh: unary("tanh"),
  sigmoid: unary("sigmoid"),
  softplus: unary("softplus"),
  lt: binary("lt"),
  le: binary("le"),
  eq: binary("eq"),
  select: (a: Num, b: Num, c: Num): Expr => apply("select", lift(a), lift(b), lift(c)),
  isFinite: unary("is_finite"),
  floor: unary("floor"),
  clamp: (a: Num, low: Num, high: Num): Expr => E.min(E.max(a, low), high),
  square: (a: Num): Expr => E.mul(a, a),
  /** x·σ(x). */
  swish: (a: Num): Expr => E.mul(a, E.sigmoid(a)),
  /** x for x > 0, e^x − 1 below. */
  elu: unary("elu"),
} as const;

const NONE = constant(0);

/** Adjoint rules: what each argument receives when the expression `self` receives `bar`. Zero almost everywhere for steps. */
const ADJOINTS: Record<ExprOp, (args: readonly Expr[], self: Expr, bar: Expr) => readonly Expr[]> = {
  add: (_, __, bar) => [bar, bar],
  sub: (_, __, bar) => [bar, E.neg(bar)],
  mul: ([a, b], _, bar) => [E.mul(bar, b!), E.mul(bar, a!)],
  div: ([, b], self, bar) => [E.div(bar, b!), E.neg(E.mul(bar, E.div(self, b!)))],
  neg: (_, __, bar) => [E.neg(bar)],
  abs: ([a], _, bar) => [E.select(E.lt(a!, 0), E.neg(bar), E.select(E.lt(0, a!), bar, 0))],
  // Ties give everything to the first operand, as PyTorch's clamp does at its bounds. A branch not taken must not see the other's
  // infinities, hence select and never a product with 0.
  max: ([a, b], _, bar) => [E.select(E.le(b!, a!), bar, 0), E.select(E.le(b!, a!), 0, bar)],
  min: ([a, b], _, bar) => [E.select(E.le(a!, b!), bar, 0), E.select(E.le(a!, b!), 0, bar)],
  exp: (_, self, bar) => [E.mul(bar, self)],
  log: ([a], _, bar) => [E.div(bar, a!)],
  expm1: (_, self, bar) => [E.mul(bar, E.add(self, 1))],
  log1p: ([a], _, bar) => [E.div(bar, E.add(1, a!))],
  sqrt: (_, self, bar) => [E.div(E.mul(0.5, bar), self)],
  rsqrt: ([a], self, bar) => [E.mul(bar, E.mul(-0.5, E.div(self, a!)))],
  recip: (_, self, bar) => [E.neg(E.mul(bar, E.mul(self, self)))],
  tanh: (_, self, bar) => [E.mul(bar, E.sub(1, E.mul(self, self)))],
  // In this order, because the derivative of x·σ(x) then shares the product with the function itself.
  sigmoid: (_, self, bar) => [E.mul(E.mul(bar, self), E.sub(1, self))],
  softplus: ([a], _, bar) => [E.mul(bar, E.sigmoid(a!))],
  lt: () => [NONE, NONE],
  le: () => [NONE, NONE],
  eq: () => [NONE, NONE],
  select: ([a], _, bar) => [NONE, E.select(a!, bar, 0), E.select(a!, 0, bar)],
  is_finite: () => [NONE],
  floor: () => [NONE],
  // 1 above 0 and e^x = elu(x) + 1 below, from the function's value alone.
  elu: (_, self, bar) => [E.mul(bar, E.add(E.min(self, 0), 1))],
};

/** ∂e/∂input(index), by reverse accumulation over the shared tree (no blow-up). */
export function derivative(e: Expr, index: number): Expr {
  const order: Expr[] = [];
  const depends = new Map<Expr, boolean>();
  const visit = (x: Expr): boolean => {
    const known = depends.get(x);
    if (known !== undefined) return known;
    let does = x.kind === "input" && x.index === index;
    if (x.kind === "op") { for (const a of x.args) does = visit(a) || does; }
    depends.set(x, does);
    order.push(x);
    return does;
  };
  if (!visit(e)) return constant(0);
  const adjoint = new Map<Expr, Expr>([[e, constant(1)]]);
  for (let i = order.length - 1; i >= 0; i--) {
    const x = order[i]!;
    const bar = adjoint.get(x);
    if (!bar || x.kind !== "op") continue;
    const terms = ADJOINTS[x.op](x.args, x, bar);
    x.args.forEach((a, k) => {
      if (!depends.get(a) || terms[k] === NONE) return;
      const sum = adjoint.get(a);
      adjoint.set(a, sum ? E.add(sum, terms[k]!) : terms[k]!);
    });
  }
  return adjoint.get(input(index)) ?? constant(0);
}

/** Replaces inputs: input(k) becomes `by(k)`. */
export function substitute(e: Expr, by: (index: number) => Expr): Expr {
  return rebuild(e, by, new Map());
}

/** `e` with `by` wherever it has `part`. */
export function replace(e: Expr, part: Expr, by: Expr): Expr {
  return rebuild(e, input, new Map([[part, by]]));
}

function rebuild(e: Expr, by: (index: number) => Expr, done: Map<Expr, Expr>): Expr {
  const visit = (x: Expr): Expr => {
    let y = done.get(x);
    if (!y) {
      y = x.kind === "input" ? by(x.index) : x.kind === "const" ? x : apply(x.op, ...x.args.map(visit));
      done.set(x, y);
    }
    return y;
  };
  return visit(e);
}

/** The inputs that `e` reads, ascending. */
export function inputsOf(e: Expr): number[] {
  const seen = new Set<Expr>(), found = new Set<number>();
  const visit = (x: Expr): void => {
    if (seen.has(x)) return;
    seen.add(x);
    if (x.kind === "input") found.add(x.index);
    else if (x.kind === "op") x.args.forEach(visit);
  };
  visit(e);
  return [...found].sort((a, b) => a - b);
}

/** Evaluates in float64. */
export function evaluate(e: Expr, inputs: readonly number[]): number {
  const done = new Map<Expr, number>();
  const visit = (x: Expr): number => {
    let v = done.get(x);
    if (v === undefined) {
      if (x.kind === "input") v = inputs[x.index]!;
      else if (x.kind === "const") v = Math.fround(x.value);
      else v = (EXPR_OPS[x.op].value as (...v: number[]) => number)(...x.args.map(visit));
      done.set(x, v);
    }
    return v;
  };
  return visit(e);
}

/** `mul(x0, sigmoid(x0))`. */
export function formatExpr(e: Expr): string {
  if (e.kind === "input") return `x${e.index}`;
  if (e.kind === "const") return String(e.value);
  return `${e.op}(${e.args.map(formatExpr).join(", ")})`;
}
