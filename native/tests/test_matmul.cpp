// Matrix products with every layout of operands, bias, epilogue and broadcast against double, on all instruction sets and one and two threads.
#include <algorithm>

#include "check.h"
#include "conv_harness.h"
#include "cpu/device.h"

using namespace cf;
using namespace cf::test;

namespace {

struct Shape {
  uint32_t batch, m, n, k;
};

/// [b, rows, cols] somewhere in memory: row-major or transposed, with gaps, at an offset, one matrix for all of the batch or one each.
struct Random3 {
  std::vector<float> data;
  Dims dims, strides;
  uint64_t offset;
  Random3(uint32_t b, uint32_t rows, uint32_t cols, bool transposed, bool shared, uint32_t gap, std::mt19937& g) : dims{b, rows, cols}, offset(g() % 3) {
    const uint32_t inner = (transposed ? rows : cols) + gap, outer = transposed ? cols : rows;
    strides = {shared ? 0 : inner * outer, transposed ? 1 : inner, transposed ? inner : 1};
    data = normals(offset + (shared ? 1 : b) * inner * outer, g);
  }
  Operand operand() { return {&data, dims, strides, offset}; }
  double at(uint32_t b, uint32_t i, uint32_t j) const {
    return data[offset + uint64_t{b} * strides[0] + uint64_t{i} * strides[1] + uint64_t{j} * strides[2]];
  }
};

void product(const Shape& s, const cpu::Device& d, std::mt19937& g) {
  Random3 a(s.batch, s.m, s.k, g() % 2, g() % 4 == 0, g() % 2 * 5, g), b(s.batch, s.k, s.n, g() % 2, g() % 2, g() % 2 * 3, g);
  const bool has_bias = g() % 2, epilogue = g() % 2;
  std::vector<float> bias = normals(s.n, g), row = normals(uint64_t{s.batch} * s.m, g), whole = normals(uint64_t{s.batch} * s.m * s.n, g);
  const uint32_t wide = s.n + g() % 2 * 4;
  std::vector<float> y(uint64_t{s.batch} * s.m * wide, 7.0f);
  const Dims dims{s.batch, s.m, s.n}, window{s.m * wide, wide, 1};
  std::vector<Operand> in{a.operand(), b.operand()};
  std::vector<uint32_t> words{has_bias};
  if (has_bias) in.push_back({&bias, {s.n}});
  if (epilogue) {  // r·whole + row
    in.push_back({&whole, dims});
    in.push_back({&row, dims, {s.m, 1, 0}});
    for (uint32_t word : {0u, 2u, static_cast<uint32_t>(ExprOp::mul), 0u, 1u, 0u, static_cast<uint32_t>(ExprOp::add), 3u, 2u, 0u, 4u}) words.push_back(word);
  }
  const Instruction run(Op::matmul, cpu::make_matmul, in, {{&y, dims, window}}, words, d);
  run.run();
  const std::vector<float> first = y;
  run.run();
  CHECK(std::memcmp(first.data(), y.data(), y.size() * 4) == 0);
  CHECK(run.guard_intact());
  std::vector<double> expected;
  std::vector<float> found;
  bool kept = true;
  for (uint32_t e = 0; e < s.batch; ++e)
    for (uint32_t i = 0; i < s.m; ++i)
      for (uint32_t j = 0; j < wide; ++j) {
        const float v = y[(uint64_t{e} * s.m + i) * wide + j];
        if (j >= s.n) {
          kept = kept && v == 7.0f;
          continue;
        }
        double sum = has_bias ? bias[j] : 0;
        for (uint32_t k = 0; k < s.k; ++k) sum += a.at(e, i, k) * b.at(e, k, j);
        if (epilogue) sum = sum * whole[(uint64_t{e} * s.m + i) * s.n + j] + row[e * s.m + i];
        expected.push_back(sum);
        found.push_back(v);
      }
  CHECK(kept);
  const double error = relative_error(found, expected);
  check::that(error <= 2e-6, __FILE__, __LINE__,
              "b " + std::to_string(s.batch) + " m " + std::to_string(s.m) + " n " + std::to_string(s.n) + " k " + std::to_string(s.k) + " " + cpu::isa_name(d.isa) +
                  " threads " + std::to_string(d.threads) + ": relative error " + std::to_string(error * 1e6) + "e-6");
}

void refusals() {
  cpu::Device d;
  std::vector<float> v(100);
  const auto make = [&](Operand a, Operand b, Operand y) { return Instruction(Op::matmul, cpu::make_matmul, {a, b}, {y}, {0}, d); };
  CHECK_THROWS(Code::invalid_program, "expected A [b, m, k] and B [b, k, n]", make({&v, {1, 2, 3}}, {&v, {1, 4, 5}}, {&v, {1, 2, 5}}));
  CHECK_THROWS(Code::invalid_program, "strides to be 1", make({&v, {1, 2, 3}, {30, 10, 2}}, {&v, {1, 3, 5}}, {&v, {1, 2, 5}}));
  CHECK_THROWS(Code::invalid_program, "output: expected float32 of dims 1 2 5", make({&v, {1, 2, 3}}, {&v, {1, 3, 5}}, {&v, {1, 2, 4}}));
  CHECK_THROWS(Code::invalid_program, "rank 3", make({&v, {2, 3}}, {&v, {1, 3, 5}}, {&v, {1, 2, 5}}));
}

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 150;
  refusals();
  for (const cpu::Isa isa : cpu::available_isas()) {
    std::mt19937 g(5);
    const auto pick = [&](uint32_t low, uint32_t high) { return low + static_cast<uint32_t>(g() % (high - low + 1)); };
    for (const int threads : {1, 2}) {
      cpu::Device d;
      d.isa = isa;
      d.threads = threads;
      for (int round = 0; round < rounds; ++round) {
        const bool round_n = g() % 2;
        product({pick(1, 4), pick(1, 70), round_n ? 32 * pick(1, 4) : pick(1, 70), pick(1, 70)}, d, g);
      }
      for (const Shape& s : {Shape{1, 5, 7, 5000}, Shape{2, 3, 33, 4100}, Shape{1, 96, 64, 2300}, Shape{1, 400, 96, 300}, Shape{1, 1, 300, 64}, Shape{3, 1, 1, 1},
                             Shape{1, 300, 1, 700}, Shape{1, 33, 500, 40}})
        product(s, d, g);
    }
  }
  return check::finish("test_matmul");
}
