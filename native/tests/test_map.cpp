// Maps, reductions and draws against scalar double references, on every instruction set of this machine.
#include <limits>

#include "check.h"
#include "common/philox.h"
#include "op_harness.h"
#include "program_builder.h"
#include "random_expression.h"

using namespace cf;
using namespace cf::test;

namespace {

void maps(cpu::Isa isa, uint32_t rounds) {
  Random random(11);
  for (uint32_t round = 0; round < rounds; ++round) {
    Program p;
    p.names = {"layer"};
    const bool transposed = round % 8 == 3;  // wide enough for tiles of their own
    const std::vector<uint32_t> dims = transposed ? std::vector<uint32_t>{1 + round % 3u, 2 + round % 90u, 65 + round % 150u}
                                                  : random_dims(random, round % 10 == 0 ? 200000 : 9000);
    const uint32_t inputs = random() % 4, outputs = 1 + random() % 2;
    Instr instr{Op::map, 0, {}, {}, {}};
    const bool simple = !transposed && random() % 2;
    for (uint32_t i = 0; i < inputs + outputs; ++i) {
      const bool out = i >= inputs;
      const bool shuffled = !simple && random() % 3 == 0;
      const uint32_t broadcast = out || random() % 2 ? 0 : random() % (1u << dims.size());
      const uint32_t gap = !simple && random() % 4 == 0 ? 2 + random() % 3 : 1;
      (out ? instr.outputs : instr.inputs).push_back(place(p, dims, random_order(random, dims.size(), shuffled), broadcast, gap, random() % 3));
    }
    const RandomExpression e = random_expression(random, inputs, outputs);
    instr.attrs = e.words();
    Memories before(p);
    before.randomise(random, -2, 2);
    // Sometimes the first output takes the memory of an input that has the same layout.
    uint32_t in_place = UINT32_MAX;
    for (uint32_t i = 0; i < inputs && random() % 2; ++i) {
      const Tensor &a = p.tensors[instr.inputs[i]], &b = p.tensors[instr.outputs[0]];
      if (a.strides == b.strides && a.offset == b.offset) in_place = i;
    }
    Memories one(before);
    for (int threads = 1; threads <= 3; ++threads) {
      Memories now(before);
      if (in_place != UINT32_MAX) now.alias(p.tensors[instr.outputs[0]].buffer, p.tensors[instr.inputs[in_place]].buffer);
      now.run(*cpu::make_map(p, instr, device(isa, threads)));
      if (threads == 1) {
        one = Memories(now);
        double worst = 0;
        each_index(p.tensors[instr.outputs[0]], [&](const auto& at) {
          std::vector<double> v;
          for (uint32_t id : instr.inputs) v.push_back(static_cast<double>(before.f32(p.tensors[id])[position(p.tensors[id], at)]));
          const std::vector<double> expected = e.values(v);
          for (uint32_t j = 0; j < outputs; ++j) {
            const Tensor& t = p.tensors[instr.outputs[j]];
            worst = std::max(worst, std::fabs(static_cast<double>(now.f32(t)[position(t, at)]) - expected[j]));
          }
        });
        CHECK_NEAR(worst, 0.0, 1e-5);
      } else {
        CHECK(now.same(one));
      }
    }
  }
}

/// Maps that only copy, between any two orders of up to six dimensions (a squeeze is one): exact, and nothing else is written.
void copies(cpu::Isa isa, uint32_t rounds) {
  Random random(14);
  const uint32_t sizes[] = {1, 2, 2, 2, 3, 3, 4, 5, 12, 16, 33, 70};
  for (uint32_t round = 0; round < rounds; ++round) {
    Program p;
    p.names = {"layer"};
    std::vector<uint32_t> dims(1 + random() % 6);
    uint64_t elements = 1;
    for (uint32_t& d : dims) {
      do d = sizes[random() % (sizeof sizes / sizeof *sizes)];
      while (elements * d > 40000);
      elements *= d;
    }
    const auto window = [&](uint32_t broadcast) {
      return place(p, dims, random_order(random, dims.size(), random() % 4 > 0), broadcast, random() % 3 ? 1 : 2 + random() % 3, random() % 3);
    };
    const uint32_t x = window(random() % 4 ? 0 : random() % (1u << dims.size())), y = window(0);
    Memories before(p);
    before.randomise(random, -2, 2);
    Memories expected(before);
    each_index(p.tensors[y], [&](const auto& at) { expected.f32(p.tensors[y])[position(p.tensors[y], at)] = before.f32(p.tensors[x])[position(p.tensors[x], at)]; });
    for (int threads = 1; threads <= 3; ++threads) {
      Memories now(before);
      now.run(*cpu::make_map(p, {Op::map, 0, {x}, {y}, {0, 0, 0}}, device(isa, threads)));
      CHECK(now.same(expected));
    }
  }
}

void reductions(cpu::Isa isa, uint32_t rounds) {
  Random random(12);
  for (uint32_t round = 0; round < rounds; ++round) {
    Program p;
    p.names = {"layer"};
    const std::vector<uint32_t> dims = random_dims(random, round % 10 == 0 ? 400000 : 20000);
    const uint32_t inputs = 1 + random() % 2, axes = random() % (1u << dims.size()), kind = random() % 2;
    const float scale = random() % 2 ? 1.0f : -0.5f;
    Instr instr{Op::reduce, 0, {}, {}, {kind, axes, bits(scale)}};
    for (uint32_t i = 0; i < inputs; ++i)
      instr.inputs.push_back(place(p, dims, random_order(random, dims.size(), random() % 4 == 0), i && random() % 2 ? random() % (1u << dims.size()) : 0,
                                   random() % 5 == 0 ? 2 : 1, random() % 3));
    std::vector<uint32_t> kept = dims;
    for (size_t k = 0; k < kept.size(); ++k)
      if (axes >> k & 1) kept[k] = 1;
    instr.outputs.push_back(place(p, kept, random_order(random, dims.size(), random() % 4 == 0), 0, random() % 5 == 0 ? 3 : 1, random() % 3));
    const RandomExpression e = random() % 3 ? random_expression(random, inputs, 1) : RandomExpression{{}, {}, {0}};
    for (uint32_t w : e.words()) instr.attrs.push_back(w);
    Memories before(p);
    before.randomise(random, -1, 2);
    const Tensor& out = p.tensors[instr.outputs[0]];
    std::vector<double> total(p.buffers[out.buffer].bytes / 4, kind ? -INFINITY : 0.0), size(total.size(), 0.0);
    each_index(p.tensors[instr.inputs[0]], [&](auto at) {
      std::vector<double> v;
      for (uint32_t id : instr.inputs) v.push_back(static_cast<double>(before.f32(p.tensors[id])[position(p.tensors[id], at)]));
      const double value = e.values(v)[0];
      for (size_t k = 0; k < kept.size(); ++k)
        if (kept[k] == 1) at[k] = 0;
      double& t = total[position(out, at)];
      t = kind ? std::max(t, value) : t + value;
      size[position(out, at)] += kind ? 1.0 : std::fabs(value);
    });
    for (int threads = 1; threads <= 3; ++threads) {
      Memories now(before), again(before);
      const auto kernel = cpu::make_reduce(p, instr, device(isa, threads));
      now.run(*kernel);
      again.run(*kernel);
      CHECK(now.same(again));
      double worst = 0;
      each_index(out, [&](const auto& at) {
        const uint64_t i = position(out, at);
        const double expected = total[i] * static_cast<double>(scale), found = static_cast<double>(now.f32(out)[i]);
        const double off = std::fabs(found - expected) / (size[i] + 1);
        worst = std::max(worst, std::isnan(off) ? 1.0 : off);
      });
      CHECK_NEAR(worst, 0.0, kind ? 1e-5 : 3e-6);
    }
  }
}

/// Every operation on its own, over its range and at the special values.
void operations(cpu::Isa isa) {
  const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> xs{0.0f, -0.0f, 1.0f, -1.0f, 0.5f, inf, -inf, nan, 1e-30f, -1e-30f, 1e30f, -1e30f, 88.0f, 100.0f, -87.0f, -100.0f, 3.5f, -3.5f, 1e-4f, 16777217.0f};
  Random random(13);
  std::uniform_real_distribution<float> draw(-20, 20);
  while (xs.size() < 1000) xs.push_back(draw(random));
  for (uint32_t op = 1; op <= 24; ++op) {
    Program p;
    p.names = {"layer"};
    const uint32_t n = static_cast<uint32_t>(xs.size());
    const uint32_t a = place(p, {n}, {0}, 0, 1, 0), b = place(p, {n}, {0}, 0, 1, 0), c = place(p, {n}, {0}, 0, 1, 0), y = place(p, {n}, {0}, 0, 1, 0);
    const Instr instr{Op::map, 0, {a, b, c}, {y}, {0, 1, op, 0, 1, 2, 3}};
    Memories m(p);
    for (uint32_t i = 0; i < n; ++i) {
      m.f32(p.tensors[a])[i] = xs[i];
      m.f32(p.tensors[b])[i] = xs[(i * 7 + 3) % n];
      m.f32(p.tensors[c])[i] = xs[(i * 11 + 5) % n];
    }
    m.run(*cpu::make_map(p, instr, device(isa, 1)));
    for (uint32_t i = 0; i < n; ++i) {
      const float fa = m.f32(p.tensors[a])[i], fb = m.f32(p.tensors[b])[i], fc = m.f32(p.tensors[c])[i], found = m.f32(p.tensors[y])[i];
      const double expected = reference(static_cast<ExprOp>(op), static_cast<double>(fa), static_cast<double>(fb), static_cast<double>(fc));
      const float rounded = static_cast<float>(expected);
      bool ok = std::isnan(expected) ? std::isnan(found) : found == rounded;
      // Four units in the last place, and nothing below the smallest normal number.
      if (!ok && std::isfinite(rounded)) ok = std::fabs(static_cast<double>(found) - expected) <= 5e-7 * std::fabs(expected) + 1.2e-38;
      check::that(ok, __FILE__, __LINE__,
                  "operation " + std::to_string(op) + " of " + std::to_string(fa) + ", " + std::to_string(fb) + ", " + std::to_string(fc) + ": expected " +
                      std::to_string(expected) + ", found " + std::to_string(found));
    }
  }
}

void draws(cpu::Isa isa) {
  for (const uint32_t kind : {0u, 1u})
    for (const auto& dims : std::vector<std::vector<uint32_t>>{{5}, {3, 4}, {7, 3, 5}, {2, 64, 64, 3}, {1, 1}, {1000, 2}}) {
      Program p;
      p.names = {"layer"};
      const uint32_t key = place(p, {4}, {0}, 0, 1, 0), out = place(p, dims, random_order(*std::make_unique<Random>(1), dims.size(), false), 0, 1, 0);
      p.buffers[0].dtype = p.tensors[key].dtype = DType::u32;
      Memories one(p);
      const uint32_t words[4] = {17, 5, 100, 0};
      std::memcpy(one.f32(p.tensors[key]), words, 16);
      for (int threads = 1; threads <= 3; ++threads) {
        Memories now(one);
        now.run(*cpu::make_random(p, {Op::random, 0, {key}, {out}, {kind, 0xabcdef01u, 2}}, device(isa, threads)), {9, 4, 0});
        const uint64_t each = p.tensors[out].elements() / dims[0];
        bool same = true;
        for (uint64_t i = 0; i < p.tensors[out].elements(); ++i) {
          uint32_t w[4];
          const uint64_t e = i % each;
          philox_at(17, 0xabcdef01u, static_cast<uint32_t>(e / 4), 100 + static_cast<uint32_t>(i / each), 5, 4, w);
          float v[4];
          for (int k = 0; k < 4; ++k) v[k] = uniform_from(w[k]);
          if (kind) normal_pair(w[0], w[1], v[0], v[1]), normal_pair(w[2], w[3], v[2], v[3]);
          same = same && bits(now.f32(p.tensors[out])[i]) == bits(v[e % 4]);
        }
        CHECK(same);
      }
    }
}

void refusals() {
  Program p;
  p.names = {"block 3"};
  const uint32_t a = place(p, {4, 4}, {0, 1}, 0, 1, 0), b = place(p, {4, 5}, {0, 1}, 0, 1, 0), y = place(p, {4, 4}, {0, 1}, 0, 1, 0);
  const cpu::Device d = device(cpu::Isa::portable, 1);
  const auto map = [&](std::vector<uint32_t> in, std::vector<uint32_t> words) { return cpu::make_map(p, {Op::map, 0, in, {y}, words}, d); };
  CHECK_THROWS(Code::invalid_program, "block 3: expected operands of one shape", map({a, b}, expression(ExprOp::add, 0, 1, 2)));
  CHECK_THROWS(Code::invalid_program, "reads value 2, of which there are 2", map({a, a}, expression(ExprOp::add, 0, 2, 2)));
  CHECK_THROWS(Code::invalid_program, "unknown operation 26", map({a}, {0, 1, 26, 0, 0, 0, 1}));
  CHECK_THROWS(Code::invalid_program, "unknown operation 0", map({a}, {0, 1, 0, 0, 0, 0, 1}));
  CHECK_THROWS(Code::invalid_program, "ends after 5 words", map({a}, {0, 1, 1, 0, 0}));
  CHECK_THROWS(Code::invalid_program, "expected 7 words, found 8", map({a}, {0, 1, 5, 0, 0, 0, 1, 0}));
  CHECK_THROWS(Code::invalid_program, "too many constants", map({a}, {0xffffffffu, 1}));
  CHECK_THROWS(Code::invalid_program, "more than 1024 values", map({a}, {0, 0xffffffffu, 1}));
  CHECK_THROWS(Code::invalid_program, "result 0 is value 2 of 2", map({a}, {0, 1, 5, 0, 0, 0, 2}));
  const auto reduce = [&](std::vector<uint32_t> attrs) { return cpu::make_reduce(p, {Op::reduce, 0, {a}, {y}, attrs}, d); };
  CHECK_THROWS(Code::invalid_program, "expected 1 in dimension 1", reduce({0, 2, bits(1), 0, 0, 0}));
  CHECK_THROWS(Code::invalid_program, "beyond rank 2", reduce({0, 4, bits(1), 0, 0, 0}));
  CHECK_THROWS(Code::invalid_program, "kind 0 (sum) or 1 (max)", reduce({2, 0, bits(1), 0, 0, 0}));
}

}  // namespace

int main(int argc, char** argv) {
  const uint32_t rounds = argc > 1 ? static_cast<uint32_t>(std::atoi(argv[1])) : 300;
  for (const cpu::Isa isa : cpu::available_isas()) {
    operations(isa);
    draws(isa);
    maps(isa, rounds);
    copies(isa, rounds);
    reductions(isa, rounds);
  }
  refusals();
  return check::finish("test_map");
}
