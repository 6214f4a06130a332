// Launch lists of small programs as text, the checker that goes over every list on the emulated device, and loops.
//
//   test_cuda_lowering                      the tests
//   test_cuda_lowering [--print] FILE…      checks (and prints) the launch lists of these programs (.cfp)
#include <algorithm>
#include <atomic>
#include <functional>
#include <fstream>
#include <iterator>

#include "check.h"
#include "cpu/backend.h"
#include "cuda/check/check.h"
#include "cuda/emulation/machine.h"
#include "cuda/executable.h"
#include "op_harness.h"
#include "program_builder.h"

using namespace cf;
using namespace cf::test;

namespace {

/// Everything at once: a loop with moving operands, staging, an epilogue, a reduction of two launches, a commit.
Program learning() {
  ProgramBuilder b;
  b.name("block 1");
  const uint32_t x = b.buffer(BufferKind::feed, "x", {4, 6}), key = b.buffer(BufferKind::feed, "key", {4}, DType::u32), w = b.buffer(BufferKind::state, "w", {3, 6, 5}),
                 bias = b.buffer(BufferKind::state, "bias", {5}), kept = b.buffer(BufferKind::arena, "", {3, 4, 5}), noise = b.buffer(BufferKind::arena, "", {4, 5}),
                 y = b.buffer(BufferKind::arena, "", {4, 5}), total = b.buffer(BufferKind::fetch, "total", {1, 1, 1}), long_row = b.buffer(BufferKind::feed, "row", {1, 1, 600000}),
                 sum = b.buffer(BufferKind::fetch, "sum", {1, 1, 1}), gains = b.buffer(BufferKind::fetch, "gains", {3, 1, 1});
  const uint32_t words = static_cast<uint32_t>(ExprOp::tanh), mul = static_cast<uint32_t>(ExprOp::mul), add = static_cast<uint32_t>(ExprOp::add);
  b.add(Op::repeat, {}, {}, {3, 0, 4, 1});
  b.add(Op::random, {b.dense(key, {4})}, {b.dense(noise, {4, 5})}, {1, 77, 1});
  // kept[t] = tanh(x·w[t] + bias) · noise; y = x·w[t] + bias
  const uint32_t slot = b.tensor(kept, {1, 4, 5}, {20, 5, 1}, 0, {20, 0, 0});
  b.add(Op::matmul, {b.tensor(x, {1, 4, 6}, {24, 6, 1}), b.tensor(w, {1, 6, 5}, {30, 5, 1}, 0, {30, 0, 0}), b.dense(bias, {5}), b.tensor(noise, {1, 4, 5}, {20, 5, 1})},
        {slot, b.tensor(y, {1, 4, 5}, {20, 5, 1})}, {1, 0, 2, words, 0, 0, 0, mul, 2, 1, 0, 3, 0});
  b.add(Op::map, {slot, b.tensor(y, {1, 4, 5}, {20, 5, 1})}, {slot}, expression(ExprOp::add, 0, 1, 2));
  b.add(Op::reduce, {slot}, {b.tensor(gains, {1, 1, 1}, {1, 1, 1}, 0, {1, 0, 0})}, {1, 7, bits(1), 0, 0, 0});
  b.add(Op::reduce, {b.dense(kept, {3, 4, 5})}, {b.dense(total, {1, 1, 1})}, {0, 7, bits(2), 0, 0, 0});
  b.add(Op::reduce, {b.dense(long_row, {1, 1, 600000})}, {b.dense(sum, {1, 1, 1})}, {0, 4, bits(1), 0, 0, 0});
  b.commit_here();
  b.add(Op::map, {b.dense(bias, {5}), b.tensor(total, {5}, {0})}, {b.dense(bias, {5})}, {1, bits(0.01f), 2, mul, 1, 2, 0, add, 0, 3, 0, 4});
  const std::vector<uint8_t> bytes = b.bytes();
  return decode(bytes.data(), bytes.size());
}

Program convolution(uint32_t k, bool epilogue, uint32_t in = 3) {
  ProgramBuilder b;
  b.name("block 1");
  const uint32_t x = b.buffer(BufferKind::feed, "x", {2, 8, 8, in}), w = b.buffer(BufferKind::state, "w", {16, in, k, k}), bias = b.buffer(BufferKind::state, "bias", {16}),
                 y = b.buffer(BufferKind::fetch, "y", {2, 8, 8, 16}), dw = b.buffer(BufferKind::fetch, "dw", {16, in, k, k});
  std::vector<uint32_t> attrs{1, k / 2, 0, 16, in, k, k, 1};
  if (epilogue) attrs.insert(attrs.end(), {0, 1, static_cast<uint32_t>(ExprOp::tanh), 0, 0, 0, 1});
  b.add(Op::conv, {b.dense(x, {2, 8, 8, in}), b.dense(w, {16, in, k, k}), b.dense(bias, {16})}, {b.dense(y, {2, 8, 8, 16})}, attrs);
  b.add(Op::conv_weight_grad, {b.dense(x, {2, 8, 8, in}), b.dense(y, {2, 8, 8, 16})}, {b.dense(dw, {16, in, k, k})}, {1, k / 2, 0, 16, in, k, k});
  const std::vector<uint8_t> bytes = b.bytes();
  return decode(bytes.data(), bytes.size());
}

void expect_text(const Program& p, const std::string& expected, cuda::Precision precision = cuda::Precision::float32) {
  cuda::Target target;
  target.precision = precision;
  const cuda::LaunchList list = cuda::lower(p, target);
  cuda::check(list, p);
  const std::string found = cuda::print(list, p);
  check::that(found == expected, __FILE__, __LINE__, "expected\n" + expected + "found\n" + found);
}

void texts() {
  expect_text(learning(), R"(3 times, backwards
  1 random kernel 0, 1 × 256: key → #5
  2 stage kernel 1, 1 × 256: w → scratch[0, 120)
  2 matmul product [4, 6]·[6, 5] + bias: x scratch[0, 120) bias → scratch[256, 336)
  2 epilogue kernel 2, 1 × 256: scratch[256, 336) #5 → #4 #6
  3 map kernel 3, 1 × 256: #4 #6 → #4
  4 max kernel 4, 1 × 32: #4 → gains
5 sum kernel 5, 1 × 32: #4 → total
6 sum kernel 6, 1·73 × 256: row → scratch[0, 584)
6 reduce_join kernel 7, 1 × 32: scratch[0, 584) → sum
commit
  7 map kernel 8, 1 × 256: bias total → bias
)");
  expect_text(convolution(3, true), R"(0 conv kernel 0, 4 × 32·4: w x → y
0 epilogue kernel 1, 2 × 256: y bias → y
1 conv_weight_grad convolution [2, 8, 8, 3] by 3×3 to [8, 8, 16]: x y → scratch[0, 1728)
1 weights kernel 2, 2 × 256: scratch[0, 1728) → dw
)");
  expect_text(convolution(3, true, 7), R"(0 weights kernel 0, 4 × 256: w → scratch[0, 4032)
0 conv convolution [2, 8, 8, 7] by 3×3 to [8, 8, 16]: x scratch[0, 4032) → y
0 epilogue kernel 1, 2 × 256: y bias → y
1 conv_weight_grad convolution [2, 8, 8, 7] by 3×3 to [8, 8, 16]: x y → scratch[0, 4032)
1 weights kernel 2, 4 × 256: scratch[0, 4032) → dw
)");
  // Rounded on the way in; the result is widened by what follows it.
  expect_text(convolution(3, true, 8), R"(0 round kernel 0, 1 × 256: x → scratch[0, 2048)
0 weights kernel 1, 16 × 256: w → scratch[2048, 4352)
0 conv convolution [2, 8, 8, 8] by 3×3 to [8, 8, 16] in bfloat16: scratch[0, 2048) scratch[2048, 4352) → scratch[4352, 8448)
0 epilogue kernel 2, 2 × 256: scratch[4352, 8448) bias → y
1 round kernel 0, 1 × 256: x → scratch[0, 2048)
1 round kernel 3, 2 × 256: y → scratch[2048, 6144)
1 conv_weight_grad convolution [2, 8, 8, 8] by 3×3 to [8, 8, 16] in bfloat16: scratch[0, 2048) scratch[2048, 6144) → scratch[6144, 8448)
1 weights kernel 4, 16 × 256: scratch[6144, 8448) → dw
)", cuda::Precision::bf16);
  expect_text(convolution(1, false), R"(0 conv product [128, 3]·[3, 16]ᵀ + bias: x w bias → y
1 conv_weight_grad product [16, 128]ᵀ·[128, 3]: y x → dw
)");
}

/// The same kernel text serves every place that it fits.
void shared_kernels() {
  ProgramBuilder b;
  const uint32_t x = b.buffer(BufferKind::feed, "x", {8}), y = b.buffer(BufferKind::fetch, "y", {8}), z = b.buffer(BufferKind::fetch, "z", {8});
  b.add(Op::map, {b.dense(x, {8})}, {b.dense(y, {8})}, {0, 1, static_cast<uint32_t>(ExprOp::exp), 0, 0, 0, 1});
  b.add(Op::map, {b.dense(y, {8})}, {b.dense(z, {8})}, {0, 1, static_cast<uint32_t>(ExprOp::exp), 0, 0, 0, 1});
  b.program.commit = 2;
  CHECK(cuda::lower(b.program, {}).kernels.size() == 1);
}

void lists_that_are_wrong() {
  const Program p = learning();
  const cuda::LaunchList good = cuda::lower(p, {});
  const auto wrong = [&](const std::string& message, const std::function<void(cuda::LaunchList&)>& change) {
    cuda::LaunchList list = good;
    change(list);
    CHECK_THROWS(Code::internal, message, cuda::check(list, p));
  };
  const auto at = [](cuda::LaunchList& list, const std::string& name) -> cuda::Launch& {
    return *std::find_if(list.launches.begin(), list.launches.end(), [&](const cuda::Launch& l) { return l.name == name; });
  };
  // The noise is made after the map that wants it.
  wrong("which do not hold what was written there", [](auto& list) { std::swap(list.launches[0], list.launches[3]); });
  wrong("reads bytes", [&](auto& list) { at(list, "sum").reads[0].kind = cuda::Place::Kind::scratch; list.scratch_bytes = 1u << 30; at(list, "sum").pointers[0].place.kind = cuda::Place::Kind::scratch; });
  wrong("names bytes", [&](auto& list) { at(list, "map").reads[0].end += 1u << 20; });
  wrong("has no pointer to an operand", [&](auto& list) { at(list, "random").pointers.erase(at(list, "random").pointers.begin()); });
  wrong("which are not among its operands", [&](auto& list) { at(list, "map").pointers[0].place.offset += 4000; });
  wrong("which are not among its operands", [&](auto& list) { at(list, "matmul").matmul.m += 1; });
  wrong("without exactly one stride of 1", [&](auto& list) { at(list, "matmul").matmul.a.row_stride = 1; });
  wrong("writes over what it reads", [&](auto& list) { at(list, "matmul").reads.push_back(at(list, "matmul").writes[0]); });
  wrong("impossible grid", [&](auto& list) { at(list, "map").grid[1] = 70000; });
  wrong("not whole warps", [&](auto& list) { at(list, "reduce_join").block[0] = 40; });
  wrong("out of order", [](auto& list) { list.before_commit.pop_back(); });
  wrong("launches are missing", [](auto& list) { list.commit.pop_back(); });
  wrong("a pointer at byte", [&](auto& list) { at(list, "map").pointers[0].at = 4; });
}

/// Temporaries that share memory.
void overlapping_buffers() {
  ProgramBuilder b;
  const std::vector<uint32_t> exp{0, 1, static_cast<uint32_t>(ExprOp::exp), 0, 0, 0, 1};
  const uint32_t x = b.dense(b.buffer(BufferKind::feed, "x", {32}), {32}), first = b.dense(b.buffer(BufferKind::arena, "", {32}), {32}),
                 second = b.dense(b.buffer(BufferKind::arena, "", {32}), {32}), y = b.dense(b.buffer(BufferKind::fetch, "y", {32}), {32});
  b.add(Op::map, {x}, {first}, exp);
  b.add(Op::map, {first}, {second}, exp);
  b.add(Op::map, {first, second}, {y}, expression(ExprOp::add, 0, 1, 2));
  Program p = b.program;
  p.commit = 3;
  cuda::check(cuda::lower(p, {}), p);
  p.buffers[2].offset = p.buffers[1].offset;
  CHECK_THROWS(Code::internal, "launch 2 (map of instruction 2) reads bytes [0, 128) of buffer 1, which do not hold", cuda::check(cuda::lower(p, {}), p));
  p.buffers[2].offset = p.buffers[1].offset + 64;
  CHECK_THROWS(Code::internal, "launch 1 (map of instruction 1) writes over what it reads", cuda::check(cuda::lower(p, {}), p));
}

std::vector<float> run(Backend& backend, const Program& p) {
  const auto executable = backend.prepare(p);
  std::vector<Memory> memory;
  std::vector<char*> base;
  // Arena buffers each have memory of their own here.
  for (const Buffer& b : p.buffers) {
    std::vector<float> values(b.bytes / 4);
    for (size_t i = 0; i < values.size(); ++i) values[i] = 0.001f * static_cast<float>(i * 37 % 1000) - 0.4f;
    if (b.kind == BufferKind::arena || b.kind == BufferKind::fetch) std::fill(values.begin(), values.end(), NAN);
    char* const to = backend.allocate(b.bytes, "a test");
    backend.upload(to, values.data(), b.bytes);
    base.push_back(to);
  }
  char* const scratch = backend.allocate(executable->scratch_bytes + 64, "a test");
  std::atomic<uint32_t> cancel{0};
  Progress progress;
  Profile profile;
  Watch watch;
  const Invocation call{base, scratch, cancel, progress, profile, watch};
  executable->propose(call);
  executable->commit(call);
  std::vector<float> out;
  for (size_t i = 0; i < p.buffers.size(); ++i) {
    std::vector<float> values(p.buffers[i].bytes / 4);
    backend.download(values.data(), base[i], p.buffers[i].bytes);
    out.insert(out.end(), values.begin(), values.end());
    backend.release(base[i]);
  }
  backend.release(scratch);
  return out;
}

/// Whole programs give on the emulated device what they give on the CPU.
void runs() {
  for (const Program& p : {learning(), convolution(3, true), convolution(3, false), convolution(1, true)}) {
    const auto cpu = cpu::make_backend(device(cpu::available_isas().back(), 1));
    const auto gpu = cuda::make_backend(cuda::emulated_machine(), "cuda:0", 0, true);
    const std::vector<float> expected = run(*cpu, p), found = run(*gpu, p);
    double worst = 0;
    for (size_t i = 0; i < expected.size(); ++i) {
      const double off = std::fabs(double{expected[i]} - double{found[i]}) / (1 + std::fabs(double{expected[i]}));
      worst = std::max(worst, std::isnan(expected[i]) && std::isnan(found[i]) ? 0 : std::isnan(off) ? INFINITY : off);
    }
    CHECK_NEAR(worst, 0.0, 2e-5);
  }
}

/// Programs from files: their lists are checked and, when `shown`, printed.
int check_files(int count, char** files, bool shown) {
  for (int i = 0; i < count; ++i) {
    std::ifstream in(files[i], std::ios::binary);
    const std::vector<char> bytes{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
    try {
      const Program p = decode(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
      const cuda::LaunchList list = cuda::lower(p, {});
      cuda::check(list, p);
      if (shown) std::printf("%s", cuda::print(list, p).c_str());
      else std::printf("%s: %zu instructions, %zu launches, %zu kernels, %llu bytes of scratch\n", files[i], p.instrs.size(), list.launches.size(), list.kernels.size(), static_cast<unsigned long long>(list.scratch_bytes));
    } catch (const Error& e) {
      std::printf("%s: %s\n", files[i], e.what());
      return 1;
    }
  }
  return 0;
}

}  // namespace

int main(int count, char** arguments) {
  const bool shown = count > 1 && std::string(arguments[1]) == "--print";
  if (count > 1) return check_files(count - (shown ? 2 : 1), arguments + (shown ? 2 : 1), shown);
  texts();
  shared_kernels();
  lists_that_are_wrong();
  overlapping_buffers();
  runs();
  return check::finish("test_cuda_lowering");
}
