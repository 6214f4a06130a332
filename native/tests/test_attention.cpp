// Attention and its gradient against plain double precision; dropout against common/philox.h; gradients also against differences.
#include <algorithm>

#include "common/philox.h"
#include "dense_op.h"

namespace {

using namespace cf;
using namespace cf::test;

struct Shape {
  uint32_t n, l, heads, d;
  float p;
  uint32_t c() const { return heads * d; }
};
constexpr uint32_t kSeed = 11, kIteration = 5, kFirst = 40, kStream = 0x9e1234u, kLoop = 3;  // DenseOp runs in iteration 3 of level 0

struct Result {
  std::vector<double> out, lse, dkvq;
  std::vector<uint32_t> kept;
};
uint32_t kept_words(const Shape& s) { return (s.l * s.l + 31) / 32; }
Result reference(const Shape& s, const std::vector<double>& kvq, const std::vector<double>& dout) {
  const size_t L = s.l, c = s.c(), d = s.d;
  Result r{std::vector<double>(s.n * L * c), std::vector<double>(s.n * s.heads * L), std::vector<double>(kvq.size()), std::vector<uint32_t>(s.n * s.heads * kept_words(s))};
  const double scale = 1 / std::sqrt(static_cast<double>(d));
  std::vector<double> w(L), keep(L), dw(L);
  for (size_t n = 0; n < s.n; ++n)
    for (size_t h = 0; h < s.heads; ++h)
      for (size_t i = 0; i < L; ++i) {
        auto at = [&](size_t row, size_t part, size_t k) { return (n * L + row) * 3 * c + part * c + h * d + k; };
        double largest = -1e300, total = 0;
        for (size_t j = 0; j < L; ++j) {
          w[j] = 0;
          for (size_t k = 0; k < d; ++k) w[j] += kvq[at(i, 2, k)] * kvq[at(j, 0, k)] * scale;
          largest = std::max(largest, w[j]);
          const uint32_t e = static_cast<uint32_t>((h * L + i) * L + j);
          uint32_t words[4];
          philox_at(kSeed, kStream, e >> 3, static_cast<uint32_t>(kFirst + n), kIteration, kLoop, words);
          const bool stays = s.p == 0 || half_from(words, e) >= dropout_threshold(s.p);
          if (stays) r.kept[(n * s.heads + h) * kept_words(s) + (i * L + j) / 32] |= 1u << (i * L + j) % 32;
          keep[j] = s.p == 0 ? 1 : stays ? 1 / (1 - static_cast<double>(s.p)) : 0;
        }
        for (double& x : w) total += x = std::exp(x - largest);
        r.lse[(n * s.heads + h) * L + i] = largest + std::log(total);
        double share = 0;
        for (size_t j = 0; j < L; ++j) {
          w[j] /= total;
          dw[j] = 0;
          for (size_t k = 0; k < d; ++k) {
            const size_t o = (n * L + i) * c + h * d + k;
            r.out[o] += w[j] * keep[j] * kvq[at(j, 1, k)];
            dw[j] += keep[j] * dout[o] * kvq[at(j, 1, k)];
            r.dkvq[at(j, 1, k)] += w[j] * keep[j] * dout[o];
          }
          share += w[j] * dw[j];
        }
        for (size_t j = 0; j < L; ++j)
          for (size_t k = 0; k < d; ++k) {
            const double ds = w[j] * (dw[j] - share) * scale;
            r.dkvq[at(i, 2, k)] += ds * kvq[at(j, 0, k)];
            r.dkvq[at(j, 0, k)] += ds * kvq[at(i, 2, k)];
          }
      }
  return r;
}
std::vector<double> wide(const Array& a) { return std::vector<double>(a.data.begin(), a.data.end()); }

/// The reference's gradient is itself checked, against central differences of its forward direction.
void test_reference(std::mt19937& g) {
  const Shape s{1, 6, 2, 3, 0.3f};
  std::vector<double> kvq = wide(normal({s.n, s.l, 3 * s.c()}, g)), dout = wide(normal({s.n, s.l, s.c()}, g));
  const Result r = reference(s, kvq, dout);
  for (size_t i = 0; i < kvq.size(); ++i) {
    double side[2];
    for (int k = 0; k < 2; ++k) {
      std::vector<double> moved = kvq;
      moved[i] += k ? 1e-5 : -1e-5;
      const Result m = reference(s, moved, dout);
      side[k] = 0;
      for (size_t o = 0; o < dout.size(); ++o) side[k] += m.out[o] * dout[o];
    }
    check(std::fabs((side[1] - side[0]) / 2e-5 - r.dkvq[i]) < 1e-8, "reference gradient %zu", i);
  }
}

void test_shape(const Shape& s, std::mt19937& g, float size) {
  const Array kvq = normal({s.n, s.l, 3 * s.c()}, g, size), dout = normal({s.n, s.l, s.c()}, g), key = Array::key(kSeed, kIteration, kFirst);
  const Result r = reference(s, wide(kvq), wide(dout));
  for_devices([&](const cpu::Device& device, const std::string& where) {
    Array out({s.n, s.l, s.c()}), lse({s.n, s.heads, s.l}), dkvq({s.n, s.l, 3 * s.c()}), kept = Array::words({s.n, s.heads, kept_words(s)});
    std::vector<const Array*> in{&kvq}, gin{&kvq, &out, &lse, &dout};
    std::vector<Array*> results{&out, &lse};
    if (s.p > 0) in.push_back(&key), results.push_back(&kept), gin.push_back(&kept);
    DenseOp forward(Op::attention, cpu::make_attention, in, results, {s.heads, bits_of(s.p), kStream, 1}, device);
    forward.run();
    // Scores of size s are rounded by s·2^-24, and so, relatively, are the weights.
    const double tolerance = 2e-6 * std::max(1.0f, size * size);
    check(relative(out, r.out) < tolerance, "out: %g (L %u, d %u, p %g, %s)", relative(out, r.out), s.l, s.d, static_cast<double>(s.p), where.c_str());
    check(relative(lse, r.lse) < tolerance, "lse: %g (L %u, d %u, p %g, %s)", relative(lse, r.lse), s.l, s.d, static_cast<double>(s.p), where.c_str());
    check(s.p == 0 || std::memcmp(kept.data.data(), r.kept.data(), 4 * r.kept.size()) == 0, "kept (L %u, p %g, %s)", s.l, static_cast<double>(s.p), where.c_str());
    DenseOp backward(Op::attention_grad, cpu::make_attention_grad, gin, {&dkvq}, {s.heads, bits_of(s.p)}, device);
    backward.run();
    check(relative(dkvq, r.dkvq) < 4 * tolerance, "dkvq: %g (L %u, d %u, p %g, %s)", relative(dkvq, r.dkvq), s.l, s.d, static_cast<double>(s.p), where.c_str());
    const Array first = out, dfirst = dkvq;
    forward.run(), backward.run();
    check(same_bits(first, out) && same_bits(dfirst, dkvq), "rerun differs (%s)", where.c_str());
  });
}

void test_refusals() {
  Array kvq({1, 4, 12}), out({1, 4, 4}), lse({1, 2, 4}), key = Array::key(1, 2, 3);
  auto make = [&](const std::vector<const Array*>& in, const std::vector<Array*>& results, std::vector<uint32_t> attrs) {
    return refused([&] { DenseOp(Op::attention, cpu::make_attention, in, results, std::move(attrs), device(cpu::Isa::portable, 1)); });
  };
  check(!make({&kvq}, {&out, &lse}, {2, 0, 0, 0}), "a good attention was refused");
  check(make({&kvq}, {&out, &lse}, {3, 0, 0, 0}), "channels that do not divide were accepted");
  check(make({&kvq}, {&out, &lse}, {0, 0, 0, 0}), "no head accepted");
  check(make({&kvq}, {&out, &lse}, {2, bits_of(0.5f), 0, 0}), "dropout without a key accepted");
  check(make({&kvq, &key}, {&out, &lse}, {2, 0, 0, 0}), "a key without dropout accepted");
  check(make({&kvq, &key}, {&out, &lse}, {2, bits_of(1.0f), 0, 0}), "dropout of everything accepted");
  check(make({&kvq, &key}, {&out, &lse}, {2, bits_of(NAN), 0, 0}), "dropout of NaN accepted");
  check(make({&kvq}, {&lse, &lse}, {2, 0, 0, 0}), "wrong output accepted");
  Array kept = Array::words({1, 2, 1}), dkvq({1, 4, 12});
  check(!make({&kvq, &key}, {&out, &lse, &kept}, {2, bits_of(0.5f), 0, 0}), "a good attention with dropout was refused");
  check(make({&kvq, &key}, {&out, &lse}, {2, bits_of(0.5f), 0, 0}), "dropout without kept bits accepted");
  check(make({&kvq, &key}, {&out, &lse, &lse}, {2, bits_of(0.5f), 0, 0}), "float32 for kept bits accepted");
  auto grad = [&](const std::vector<const Array*>& in, std::vector<uint32_t> attrs) {
    return refused([&] { DenseOp(Op::attention_grad, cpu::make_attention_grad, in, {&dkvq}, std::move(attrs), device(cpu::Isa::portable, 1)); });
  };
  check(!grad({&kvq, &out, &lse, &out}, {2, 0}), "a good gradient was refused");
  check(!grad({&kvq, &out, &lse, &out, &kept}, {2, bits_of(0.5f)}), "a good gradient with dropout was refused");
  check(grad({&kvq, &out, &lse, &out}, {2, bits_of(0.5f)}), "a gradient with dropout without kept bits accepted");
  check(grad({&kvq, &out, &lse, &out, &kept}, {2, 0}), "kept bits without dropout accepted");
}

}  // namespace

int main() {
  std::mt19937 g(3);
  test_reference(g);
  for (const Shape& s : {Shape{2, 8, 4, 8, 0}, Shape{1, 16, 2, 24, 0}, Shape{3, 32, 1, 24, 0.2f}, Shape{2, 128, 4, 8, 0.2f}, Shape{1, 200, 2, 5, 0.5f}, Shape{1, 256, 1, 24, 0.2f},
                         Shape{1, 13, 3, 7, 0.25f}, Shape{1, 70, 2, 1, 0}, Shape{1, 37, 2, 40, 0.1f}, Shape{1, 1, 1, 3, 0}, Shape{1, 66, 2, 48, 0.2f}})
    test_shape(s, g, 1);
  test_shape({1, 64, 2, 16, 0}, g, 6);    // nearly one-hot weights
  test_shape({1, 40, 2, 8, 0.2f}, g, 30);  // scores beyond the range of their exponentials
  test_refusals();
  return finish("attention");
}
