// The tile interpreter: one operation at a time over a tile that stays in the first-level cache, so that an expression of any length
// reads its inputs once and writes its results once.
#include "cpu/kernels/expr.h"

#include <cstring>

#include "cpu/kernels/vmath.h"

namespace cf::cpu::CF_ISA {
namespace {

/// A value during one tile: n floats, or kWidth equal ones when it is the same for every element.
struct Value {
  const float* p;
  bool uniform;
};

/// Where a step writes: a register, which has room for whole vectors, or an output, which may end anywhere.
struct Target {
  float* p;
  int n;
  bool exact;
};

struct Two {
  vf first, second;
};

CF_INLINE void put(const Target& d, int i, vf v) {
  if (d.exact) store_first(d.p + i, v, d.n - i);
  else store(d.p + i, v);
}

template <class F>
CF_INLINE void unary(F f, const float* a, const Target& d) {
  float* const p = d.p;
  const int whole = d.n & -kWidth;
  int i = 0;
#pragma GCC unroll 4
  for (; i < whole; i += kWidth) store(p + i, f(load(a + i)));
  if (i < d.n) put(d, i, f(load_first(a + i, d.n - i)));
}

template <class F>
CF_INLINE void binary(F f, Value a, Value b, const Target& d) {
  float* const p = d.p;
  const int whole = d.n & -kWidth;
  int i = 0;
  const float *pa = a.p, *pb = b.p;
  if (a.uniform) {
    const vf va = load(a.p);
#pragma GCC unroll 4
    for (; i < whole; i += kWidth) store(p + i, f(va, load(pb + i)));
    if (i < d.n) put(d, i, f(va, load_first(b.p + i, d.n - i)));
  } else if (b.uniform) {
    const vf vb = load(b.p);
#pragma GCC unroll 4
    for (; i < whole; i += kWidth) store(p + i, f(load(pa + i), vb));
    if (i < d.n) put(d, i, f(load_first(a.p + i, d.n - i), vb));
  } else {
#pragma GCC unroll 4
    for (; i < whole; i += kWidth) store(p + i, f(load(pa + i), load(pb + i)));
    if (i < d.n) put(d, i, f(load_first(a.p + i, d.n - i), load_first(b.p + i, d.n - i)));
  }
}

CF_INLINE void choose(Value a, Value b, Value c, const Target& d) {
  const vf ua = a.uniform ? load(a.p) : vf{}, ub = b.uniform ? load(b.p) : vf{}, uc = c.uniform ? load(c.p) : vf{};
  float* const p = d.p;
  const float *pa = a.p, *pb = b.p, *pc = c.p;
  const int whole = d.n & -kWidth;
  int i = 0;
  if (!a.uniform && b.uniform && c.uniform) {
#pragma GCC unroll 4
    for (; i < whole; i += kWidth) store(p + i, select(load(pa + i) != vf{}, ub, uc));
  } else {
#pragma GCC unroll 2
    for (; i < whole; i += kWidth)
      store(p + i, select((a.uniform ? ua : load(pa + i)) != vf{}, b.uniform ? ub : load(pb + i), c.uniform ? uc : load(pc + i)));
  }
  if (i < d.n) {
    const int m = d.n - i;
    put(d, i, select((a.uniform ? ua : load_first(pa + i, m)) != vf{}, b.uniform ? ub : load_first(pb + i, m), c.uniform ? uc : load_first(pc + i, m)));
  }
}

// f gives two values of x; a target without memory is left out.
template <bool kFirst, bool kSecond, class F>
CF_INLINE void pair_of(F f, const float* a, const Target& first, const Target& second) {
  const int n = kFirst ? first.n : second.n, whole = n & -kWidth;
  int i = 0;
#pragma GCC unroll 2
  for (; i < whole; i += kWidth) {
    const Two v = f(load(a + i));
    if (kFirst) store(first.p + i, v.first);
    if (kSecond) store(second.p + i, v.second);
  }
  if (i < n) {
    const Two v = f(load_first(a + i, n - i));
    if (kFirst) put(first, i, v.first);
    if (kSecond) put(second, i, v.second);
  }
}

CF_INLINE Two swish_and_slope(vf x) {
  const vf s = vsigmoid(x), y = x * s;
  return {y, fma(y, splat(1.0f) - s, s)};
}
CF_INLINE Two both_elus(vf x) {
  const vf e = vexpm1_negative(x);
  return {velu(x, e), velu(-x, e)};
}

void execute_pair(Expr::Pair pair, Value x, Value b, const Target& first, const Target& second) {
  if (pair == Expr::Pair::slope) return binary([](vf v, vf y) { return swish_and_slope(v).second * y; }, x, b, first);
  const float* const a = x.p;
  if (pair == Expr::Pair::elu) return pair_of<true, true>([](vf x) { return both_elus(x); }, a, first, second);
  if (!first.p) return pair_of<false, true>([](vf x) { return swish_and_slope(x); }, a, first, second);
  if (!second.p) return pair_of<true, false>([](vf x) { return swish_and_slope(x); }, a, first, second);
  pair_of<true, true>([](vf x) { return swish_and_slope(x); }, a, first, second);
}

CF_INLINE vf truth(vi mask) { return select(mask, splat(1.0f), vf{}); }

void execute(ExprOp op, Value a, Value b, Value c, const Target& d) {
  switch (op) {
    case ExprOp::add: return binary([](vf x, vf y) { return x + y; }, a, b, d);
    case ExprOp::sub: return binary([](vf x, vf y) { return x - y; }, a, b, d);
    case ExprOp::mul: return binary([](vf x, vf y) { return x * y; }, a, b, d);
    case ExprOp::div: return binary([](vf x, vf y) { return x / y; }, a, b, d);
    case ExprOp::max: return binary([](vf x, vf y) { return vmax_nan(x, y); }, a, b, d);
    case ExprOp::min: return binary([](vf x, vf y) { return vmin_nan(x, y); }, a, b, d);
    case ExprOp::lt: return binary([](vf x, vf y) { return truth(x < y); }, a, b, d);
    case ExprOp::le: return binary([](vf x, vf y) { return truth(x <= y); }, a, b, d);
    case ExprOp::eq: return binary([](vf x, vf y) { return truth(x == y); }, a, b, d);
    case ExprOp::neg: return unary([](vf x) { return -x; }, a.p, d);
    case ExprOp::abs: return unary([](vf x) { return vabs(x); }, a.p, d);
    case ExprOp::exp: return unary([](vf x) { return vexp(x); }, a.p, d);
    case ExprOp::log: return unary([](vf x) { return vlog(x); }, a.p, d);
    case ExprOp::expm1: return unary([](vf x) { return vexpm1(x); }, a.p, d);
    case ExprOp::log1p: return unary([](vf x) { return vlog1p(x); }, a.p, d);
    case ExprOp::sqrt: return unary([](vf x) { return vsqrt(x); }, a.p, d);
    case ExprOp::rsqrt: return unary([](vf x) { return vrsqrt(x); }, a.p, d);
    case ExprOp::recip: return unary([](vf x) { return vrecip(x); }, a.p, d);
    case ExprOp::tanh: return unary([](vf x) { return vtanh(x); }, a.p, d);
    case ExprOp::sigmoid: return unary([](vf x) { return vsigmoid(x); }, a.p, d);
    case ExprOp::softplus: return unary([](vf x) { return vsoftplus(x); }, a.p, d);
    case ExprOp::is_finite: return unary([](vf x) { return truth(vabs(x) < splat(kInf)); }, a.p, d);
    case ExprOp::floor: return unary([](vf x) { return vfloor(x); }, a.p, d);
    case ExprOp::elu: return unary([](vf x) { return velu(x, vexpm1_negative(x)); }, a.p, d);
    case ExprOp::select: return choose(a, b, c, d);
  }
}

void fill(float* out, vf v, int n) {
  int i = 0;
  for (; i + kWidth <= n; i += kWidth) store(out + i, v);
  if (i < n) store_first(out + i, v, n - i);
}

}  // namespace

void expr_run(const Expr& e, const float* const* in, const uint8_t* broadcast, float* const* out, size_t n, float* scratch) {
  const int inputs = static_cast<int>(e.inputs), constants = static_cast<int>(e.constants.size()), steps = static_cast<int>(e.steps.size()),
            outputs = static_cast<int>(e.results.size());
  const Expr::Step* const step = e.steps.data();
  const Expr::Result* const results = e.results.data();
  const uint16_t* const last_use = e.last_use.data();
  float* const own = scratch + static_cast<size_t>(e.registers) * kExprTile;  // a tile per input, then one per constant
  Value values[kMaxExprValues];
  // An output may be an input's memory. It is written by the step that makes it only when nobody reads that input afterwards, and an input that
  // is itself a result is saved before an output takes its place.
  bool direct[kMaxExprOutputs];
  for (int j = 0; j < outputs; ++j) {
    const int s = results[j].step;
    direct[j] = s >= 0 && (step[s].made[0].output == j || step[s].made[1].output == j);
    for (int i = 0; i < inputs && direct[j]; ++i)
      if (!broadcast[i] && in[i] == out[j] && last_use[i] > s + 1) direct[j] = false;
  }
  bool saved_any = false;
  for (int i = 0; i < inputs; ++i) {
    if (broadcast[i]) {
      store(own + static_cast<size_t>(i) * kExprTile, splat(*in[i]));
      values[i] = {own + static_cast<size_t>(i) * kExprTile, true};
    } else if (last_use[i] == kUsedByResult) {
      saved_any = true;
    }
  }
  for (int i = 0; i < constants; ++i) {
    float* const at = own + static_cast<size_t>(inputs + i) * kExprTile;
    store(at, splat(e.constants.data()[i]));
    values[inputs + i] = {at, true};
  }
  for (size_t at = 0; at < n; at += kExprTile) {
    const int count = static_cast<int>(n - at < kExprTile ? n - at : kExprTile);
    for (int i = 0; i < inputs; ++i)
      if (!broadcast[i]) values[i] = {in[i] + at, false};
    if (saved_any && outputs > 1)
      for (int i = 0; i < inputs; ++i) {
        if (broadcast[i] || last_use[i] != kUsedByResult) continue;
        bool taken = false;
        for (int j = 0; j < outputs; ++j) taken = taken || (out[j] == in[i] && results[j].value != i);
        if (!taken) continue;
        float* const save = own + static_cast<size_t>(i) * kExprTile;
        std::memcpy(save, in[i] + at, static_cast<size_t>(count) * sizeof(float));
        values[i].p = save;
      }
    for (int s = 0; s < steps; ++s) {
      const Expr::Step& x = step[s];
      Value a = values[x.a], b = x.arity > 1 ? values[x.b] : a, c = x.arity > 2 ? values[x.c] : a;
      const bool uniform = a.uniform && b.uniform && c.uniform;
      // One vector of equal elements is computed like any other.
      if (uniform) a.uniform = b.uniform = c.uniform = false;
      Target to[2] = {};
      for (int k = 0; k < 2; ++k) {
        const Expr::Made& made = x.made[k];
        if (made.value == Expr::kNothing) continue;
        const bool exact = !uniform && made.output >= 0 && direct[made.output];
        to[k] = {exact ? out[made.output] + at : scratch + static_cast<size_t>(made.reg) * kExprTile, uniform ? kWidth : count, exact};
        values[made.value] = {to[k].p, uniform};
      }
      if (x.pair != Expr::Pair::none) execute_pair(x.pair, a, b, to[0], to[1]);
      else execute(x.op, a, b, c, to[0]);
    }
    for (int j = 0; j < outputs; ++j) {
      const Value v = values[results[j].value];
      if (v.uniform) fill(out[j] + at, load(v.p), count);
      else if (v.p != out[j] + at) std::memcpy(out[j] + at, v.p, static_cast<size_t>(count) * sizeof(float));
    }
  }
}

}  // namespace cf::cpu::CF_ISA
