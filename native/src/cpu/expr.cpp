// Expressions as the tile interpreter runs them: assignment of registers.
#include "cpu/kernels/expr.h"

#include <cstring>

namespace cf::cpu {
namespace {

/// Pairs of values become one step each: x·σ(x) and its slope are five operations that would go through the first-level cache, elu(x) and elu(−x) have one
/// exponential.
class Fusion {
 public:
  Fusion(const Expression& e, std::vector<bool> wanted)
      : e_(e), first_(e.first_step()), uses_(first_ + e.steps.size()), wanted_(std::move(wanted)), gone_(e.steps.size()) {
    for (const Expression::Step& s : e.steps) {
      made_.push_back({Expr::Pair::none, s.op, s.arity, s.a, s.b, s.c, {{id(made_.size()), 0, -1}, {Expr::kNothing, 0, -1}}});
      for (const uint16_t id : operands(s)) ++uses_[id];
    }
  }

  std::vector<Expr::Step> steps() {
    for (size_t s = 0; s < made_.size(); ++s) {
      if (gone_[s]) continue;
      if (made_[s].op == ExprOp::sigmoid) swish(s);
      if (made_[s].op == ExprOp::elu) elus(s);
    }
    std::vector<Expr::Step> left;
    for (size_t s = 0; s < made_.size(); ++s)
      if (!gone_[s]) left.push_back(made_[s]);
    return left;
  }

 private:
  static std::vector<uint16_t> operands(const Expression::Step& s) {
    std::vector<uint16_t> ids{s.a};
    if (s.arity > 1) ids.push_back(s.b);
    if (s.arity > 2) ids.push_back(s.c);
    return ids;
  }
  uint16_t id(size_t step) const { return static_cast<uint16_t>(first_ + step); }
  bool is_one(uint16_t value) const {
    const uint32_t one = 0x3f800000u;
    return value >= e_.inputs && value < first_ && e_.constants[value - e_.inputs] == one;
  }
  /// The first step behind `from` that is op(a, b), in either order where the order does not matter; or the end.
  template <class A>
  size_t find(size_t from, ExprOp op, A&& is_a, uint16_t b) const {
    const bool either = op == ExprOp::add || op == ExprOp::mul;
    size_t s = from + 1;
    for (; s < e_.steps.size(); ++s) {
      const Expression::Step& x = e_.steps[s];
      if (x.op == op && ((is_a(x.a) && x.b == b) || (either && is_a(x.b) && x.a == b))) break;
    }
    return s;
  }
  bool inner(size_t step, uint32_t uses) const { return uses_[id(step)] == uses && !wanted_[id(step)]; }

  /// y = x·s, t = 1 − s, u = y·t, slope = s + u; or y alone.
  void swish(size_t s) {
    Expr::Step& made = made_[s];
    const size_t none = e_.steps.size();
    const uint16_t x = made.a;
    const auto is = [](uint16_t wanted) { return [wanted](uint16_t value) { return value == wanted; }; };
    const size_t y = find(s, ExprOp::mul, is(x), id(s));
    if (y == none) return;
    const size_t t = find(s, ExprOp::sub, [&](uint16_t value) { return is_one(value); }, id(s));
    const size_t u = t == none ? none : find(t, ExprOp::mul, is(id(y)), id(t));
    const size_t slope = u == none ? none : find(u, ExprOp::add, is(id(s)), id(u));
    if (slope != none && inner(s, 3) && inner(t, 1) && inner(u, 1)) {
      made.pair = Expr::Pair::swish;
      made.made[0].value = uses_[id(y)] > 1 || wanted_[id(y)] ? id(y) : Expr::kNothing;
      made.made[1].value = id(slope);
      gone_[y] = gone_[t] = gone_[u] = gone_[slope] = true;
      if (made.made[0].value == Expr::kNothing) times(s, slope);
    } else if (inner(s, 1)) {
      made.pair = Expr::Pair::swish;
      made.made[0].value = id(y);
      gone_[y] = true;
    }
  }

  /// The product of the slope that step s makes with a value b that is there by then: what a gradient is made of on its way back.
  void times(size_t s, size_t slope) {
    uint16_t b = 0;
    const size_t product = find(slope, ExprOp::mul, [&](uint16_t value) { return b = value, true; }, id(slope));
    if (product == e_.steps.size() || !inner(slope, 1) || b >= id(s)) return;
    Expr::Step& made = made_[s];
    made.pair = Expr::Pair::slope;
    made.arity = 2, made.b = b;
    made.made[0].value = id(product), made.made[1].value = Expr::kNothing;
    gone_[product] = true;
  }

  /// The x of which value `v` is −x, or v itself.
  uint16_t unsigned_of(uint16_t v) const { return v >= first_ && e_.steps[v - first_].op == ExprOp::neg ? e_.steps[v - first_].a : v; }

  /// elu(x) and elu(−x), whichever comes first.
  void elus(size_t s) {
    const uint16_t v = made_[s].a, x = unsigned_of(v);
    for (size_t other = s + 1; other < made_.size(); ++other) {
      const uint16_t w = made_[other].a;
      if (made_[other].op != ExprOp::elu || w == v || unsigned_of(w) != x) continue;
      const uint16_t negative = v == x ? w : v;
      made_[s].pair = Expr::Pair::elu;
      made_[s].a = x;
      made_[s].made[0].value = v == x ? id(s) : id(other);
      made_[s].made[1].value = v == x ? id(other) : id(s);
      gone_[other] = true;
      if (inner(negative - first_, 1)) gone_[negative - first_] = true;
      return;
    }
  }

  const Expression& e_;
  uint32_t first_;
  std::vector<uint32_t> uses_;  ///< by steps, per value
  std::vector<bool> wanted_;    ///< per value: is it a result?
  std::vector<bool> gone_;      ///< per step: does another one make its value?
  std::vector<Expr::Step> made_;
};

/// Gives each value a register, and a register back once the value has been read for the last time. A step may overwrite an operand
/// that dies in it, because every operation reads an element before it writes it. Results live to the end.
void assign_registers(Expr& e) {
  const uint32_t first = e.inputs + static_cast<uint32_t>(e.constants.size()), steps = static_cast<uint32_t>(e.steps.size());
  std::vector<uint32_t> last(first + e.operations, 0);
  std::vector<uint16_t> reg_of(first + e.operations, 0);
  for (uint32_t s = 0; s < steps; ++s) {
    const Expr::Step& step = e.steps[s];
    const uint16_t ids[3] = {step.a, step.b, step.c};
    for (uint32_t k = 0; k < step.arity; ++k) last[ids[k]] = s + 1;
  }
  for (const Expr::Result& r : e.results) last[r.value] = kUsedByResult;
  e.last_use.assign(last.begin(), last.begin() + e.inputs);
  std::vector<uint16_t> free;
  for (uint32_t s = 0; s < steps; ++s) {
    Expr::Step& step = e.steps[s];
    const uint16_t ids[3] = {step.a, step.b, step.c};
    for (uint32_t k = 0; k < step.arity; ++k) {
      if (ids[k] < first || last[ids[k]] != s + 1) continue;
      last[ids[k]] = 0;  // the same operand twice gives its register back once
      free.push_back(reg_of[ids[k]]);
    }
    std::vector<uint16_t> unread;
    for (Expr::Made& made : step.made) {
      if (made.value == Expr::kNothing) continue;
      if (free.empty()) free.push_back(static_cast<uint16_t>(e.registers++));
      made.reg = reg_of[made.value] = free.back();
      free.pop_back();
      // A value that nobody reads keeps its register for this one step only.
      if (last[made.value] == 0) unread.push_back(made.reg);
    }
    free.insert(free.end(), unread.begin(), unread.end());
  }
}

}  // namespace

Expr parse_expr(const uint32_t* words, size_t count, uint32_t inputs, uint32_t outputs, const char* op) {
  const Expression decoded = decode_expression(words, count, inputs, outputs, op);
  Expr e;
  e.inputs = inputs;
  for (const uint32_t bits : decoded.constants) {
    float v;
    std::memcpy(&v, &bits, 4);
    e.constants.push_back(v);
  }
  e.operations = static_cast<uint32_t>(decoded.steps.size());
  std::vector<bool> wanted(decoded.first_step() + decoded.steps.size());
  for (const uint32_t id : decoded.results) wanted[id] = true;
  e.steps = Fusion(decoded, std::move(wanted)).steps();
  for (const uint32_t id : decoded.results) e.results.push_back({static_cast<uint16_t>(id), -1});
  for (size_t s = 0; s < e.steps.size(); ++s)
    for (Expr::Made& made : e.steps[s].made)
      for (uint32_t j = outputs; j-- > 0;)
        if (made.value == e.results[j].value) made.output = static_cast<int8_t>(j), e.results[j].step = static_cast<int16_t>(s);
  assign_registers(e);
  return e;
}

}  // namespace cf::cpu
