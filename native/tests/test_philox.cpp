// Known answers, the ranges of uniforms, and normals against double precision.
#include "common/philox.h"

#include "dense_op.h"

namespace {

using namespace cf;
using namespace cf::test;

void test_known_answers() {
  // Random123's kat_vectors for philox4x32-10.
  struct Case {
    uint32_t counter[4], key[2], words[4];
  };
  const Case cases[] = {
      {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
      {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
      {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}, {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
  };
  for (const Case& c : cases) {
    uint32_t out[4], at[4];
    philox4x32_10(c.counter, c.key, out);
    philox_at(c.key[0], c.key[1], c.counter[0], c.counter[1], c.counter[2], c.counter[3], at);
    for (int i = 0; i < 4; ++i) check(out[i] == c.words[i] && at[i] == c.words[i], "word %d is %08x, expected %08x", i, out[i], c.words[i]);
  }
}

void test_uniform() {
  check(uniform_from(0) == 0.0f && uniform_from(0xff) == 0.0f && uniform_from(0x100) == 0x1p-24f, "smallest uniforms");
  check(uniform_from(0xffffffff) == 1 - 0x1p-24f, "largest uniform");
}

/// cos and sin of 2π·k/2^24, exact at quarter turns.
void turn(uint32_t k, double& c, double& s) {
  const double angle = 2 * 3.14159265358979323846 * (k / 16777216.0);
  c = std::cos(angle), s = std::sin(angle);
  if (k % 0x400000) return;
  const uint32_t quarter = k / 0x400000;
  c = (quarter == 0) - (quarter == 2), s = (quarter == 1) - (quarter == 3);
}

void test_pair(uint32_t w0, uint32_t w1, double& worst) {
  float even, odd;
  normal_pair(w0, w1, even, odd);
  const double r = std::sqrt(-2 * std::log(((w0 >> 8) + 1) / 16777216.0));
  double c, s;
  turn(w1 >> 8, c, s);
  for (auto [got, expected] : {std::pair<double, double>{even, r * c}, {odd, r * s}}) {
    const double error = std::fabs(got - expected) / (expected != 0 ? std::fabs(expected) : 1);
    worst = error < worst ? worst : error;  // NaN stays
    check(error <= 2e-7, "normal of %08x %08x: %.9g, expected %.9g", w0, w1, got, expected);
  }
}

void test_normal() {
  double worst = 0, sum = 0, squares = 0;
  constexpr uint32_t kDraws = 400000;
  uint64_t hash = 0xcbf29ce484222325u;
  for (uint32_t i = 0; i < kDraws; ++i) {
    uint32_t w[4];
    philox_at(1, 2, i, 3, 4, 5, w);
    test_pair(w[0], w[1], worst);
    float even, odd;
    normal_pair(w[0], w[1], even, odd);
    sum += even + odd, squares += static_cast<double>(even) * even + static_cast<double>(odd) * odd;
    for (float x : {even, odd}) hash = (hash ^ bits_of(x)) * 0x100000001b3u;
  }
  const double mean = sum / (2.0 * kDraws), variance = squares / (2.0 * kDraws);
  check(std::fabs(mean) < 5 / std::sqrt(2.0 * kDraws) && std::fabs(variance - 1) < 5 * std::sqrt(1.0 / kDraws), "mean %g, variance %g", mean, variance);
  // The same on every compiler, instruction set and device: another number here means that saved runs can't be repeated.
  check(hash == 0x7f112de79c8c07d8u, "the bits of the normals changed: hash %016llx", static_cast<unsigned long long>(hash));
  // Both ends of the logarithm, and every octant's borders.
  for (uint32_t i = 0; i < 300; ++i)
    for (uint32_t k = 0; k < 8; ++k) {
      test_pair(i << 8, ((k << 21) + i) << 8, worst);
      test_pair(0xffffffffu - (i << 8), ((k << 21) - i) << 8, worst);
    }
  std::printf("normals: largest relative error %.3g\n", worst);
}

}  // namespace

int main() {
  test_known_answers();
  test_uniform();
  test_normal();
  return finish("philox");
}
