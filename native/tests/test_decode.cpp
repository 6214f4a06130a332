// The decoder accepts what the builder writes, names what is wrong with what it refuses, and survives any damage.
#include <random>

#include "check.h"
#include "program/decode.h"
#include "program_builder.h"

using namespace cf;
using namespace cf::test;

namespace {

/// y = x + w in a loop of 3 over rows, then w ← y's last row in the commit.
ProgramBuilder example() {
  ProgramBuilder b;
  b.name("größe");
  const uint32_t x = b.buffer(BufferKind::feed, "x", {3, 8}), w = b.buffer(BufferKind::state, "w", {8}), y = b.buffer(BufferKind::fetch, "y", {3, 8}),
                 tmp = b.buffer(BufferKind::arena, "", {8}), c = b.constant({1, 2, 3, 4, 5, 6, 7, 8});
  b.add(Op::repeat, {}, {}, {3, 0, 2, 0});
  // Tensors 0 to 5; the tests below change them by these numbers.
  const uint32_t t = b.tensor(tmp, {8}, {1}), row = b.tensor(x, {8}, {1}, 0, {8, 0, 0}), weight = b.tensor(w, {8}, {1}), factor = b.tensor(c, {8}, {1}),
                 result = b.tensor(y, {8}, {1}, 0, {8, 0, 0}), last = b.tensor(y, {8}, {1}, 16);
  b.add(Op::map, {row, weight}, {t}, expression(ExprOp::add, 0, 1, 2));
  b.add(Op::map, {t, factor}, {result}, expression(ExprOp::mul, 0, 1, 2));
  b.commit_here();
  b.add(Op::map, {last}, {weight}, expression(ExprOp::neg, 0, 0, 1));
  return b;
}

Program decoded(const std::vector<uint8_t>& bytes) { return decode(bytes.data(), bytes.size()); }

template <class Change>
void refused(const char* expected, Change&& change) {
  ProgramBuilder b = example();
  change(b.program);
  CHECK_THROWS(Code::invalid_program, expected, decoded(b.bytes()));
}

void accepts() {
  const ProgramBuilder b = example();
  const Program p = decoded(b.bytes());
  CHECK(p.buffers.size() == 5 && p.tensors.size() == b.program.tensors.size() && p.instrs.size() == 4);
  CHECK(p.names[0] == "größe" && p.commit == 3 && p.arena_bytes == 64);
  CHECK(p.buffers[0].name == "x" && p.buffers[0].shape == std::vector<uint32_t>{3, 8});
  CHECK(p.constants == b.program.constants);
  CHECK(p.instrs[1].attrs == b.program.instrs[1].attrs && p.instrs[1].inputs == b.program.instrs[1].inputs);
  CHECK(count_steps(p) == 7);
}

void refuses() {
  refused("unknown op 99", [](Program& p) { p.instrs[1].op = static_cast<Op>(99); });
  refused("reaches element 24 of 24", [](Program& p) { p.tensors[1].offset = 1; });
  refused("reaches element 31 of 24", [](Program& p) { p.instrs[0].attrs[0] = 4; });
  refused("reaches element 2^64", [](Program& p) {
    p.tensors[1].offset = UINT64_MAX;
    p.tensors[1].strides[0] = UINT32_MAX;
  });
  refused("its body ends at instruction 5", [](Program& p) { p.instrs[0].attrs[2] = 4; });
  refused("reaches into the commit", [](Program& p) { p.instrs[0].attrs[2] = 3; });
  refused("nesting level 1, expected 0", [](Program& p) { p.instrs[0].attrs[1] = 1; });
  refused("a count and a body", [](Program& p) { p.instrs[0].attrs[0] = 0; });
  refused("a count and a body", [](Program& p) { p.instrs[0].attrs[2] = 0; });
  refused("4 attributes", [](Program& p) { p.instrs[0].attrs.pop_back(); });
  refused("the feed x", [](Program& p) { p.instrs[1].outputs[0] = 1; });
  refused("which is constant", [](Program& p) { p.instrs[2].outputs[0] = 3; });
  refused("the state w before the commit", [](Program& p) { p.instrs[2].outputs[0] = 2; });
  refused("through stride 0", [](Program& p) { p.tensors[0].strides[0] = 0; });
  refused("input is tensor 77", [](Program& p) { p.instrs[1].inputs[0] = 77; });
  refused("names buffer 9", [](Program& p) { p.tensors[0].buffer = 9; });
  refused("another dtype", [](Program& p) { p.tensors[0].dtype = DType::u32; });
  refused("rank 7", [](Program& p) { p.tensors[0].rank = 7; });
  refused("a dimension is 0", [](Program& p) { p.tensors[0].dims[0] = 0; });
  refused("of 64 in the arena", [](Program& p) { p.buffers[3].offset = 64; });
  refused("not a multiple of 64", [](Program& p) { p.buffers[3].offset = 4; });
  refused("its shape takes 96", [](Program& p) { p.buffers[0].bytes = 92; });
  refused("bad size", [](Program& p) { p.buffers[0].bytes = UINT64_MAX - 3; });
  refused("repeats the name w", [](Program& p) { p.buffers[1].shape = {8}, p.buffers[0] = p.buffers[1]; });
  refused("has no name", [](Program& p) { p.buffers[0].name.clear(); });
  refused("the commit begins at instruction 9", [](Program& p) { p.commit = 9; });
  refused("reaches into the commit", [](Program& p) { p.commit = 2; });
  refused("the arena has", [](Program& p) { p.arena_bytes = kMaxBytes + 1; });
  refused("UTF-8", [](Program& p) { p.names[0] = "\xff"; });
  refused("more than 281474976710656 instructions", [](Program& p) {
    for (Tensor& t : p.tensors) t.loop_strides = {};
    p.instrs[2] = {Op::repeat, 0, {}, {}, {UINT32_MAX, 0, 3, 0}};
    p.instrs[0] = {Op::repeat, 0, {}, {}, {UINT32_MAX, 0, 1, 0}};
    std::vector<Instr> body{{Op::repeat, 0, {}, {}, {UINT32_MAX, 0, 2, 0}}, {Op::repeat, 0, {}, {}, {UINT32_MAX, 1, 1, 0}}, p.instrs[1]};
    p.instrs = body;
    p.commit = 3;
  });
  std::vector<uint8_t> bytes = example().bytes();
  bytes[70] ^= 1;
  CHECK_THROWS(Code::invalid_program, "checksum", decoded(bytes));
  for (const int at : {4, 8}) {
    bytes = example().bytes();
    bytes[static_cast<size_t>(at)] ^= 0x40;
    CHECK_THROWS(Code::version_mismatch, "compile the model again", decoded(bytes));
  }
  bytes = example().bytes();
  bytes[0] = 0;
  CHECK_THROWS(Code::invalid_program, "COFP", decoded(bytes));
  CHECK_THROWS(Code::invalid_program, "at least 64 bytes", decode(bytes.data(), 63));
}

/// Whatever is decoded without an error is safe by construction; here it only has to come out without a fault (run under sanitizers).
void survives() {
  const std::vector<uint8_t> good = example().bytes();
  long accepted = 0, tried = 0;
  const auto attempt = [&](std::vector<uint8_t> bytes) {
    ++tried;
    // A copy of exactly its size, so that reading beyond the end is seen.
    ProgramBuilder::seal(bytes);
    try {
      count_steps(decoded(bytes));
      ++accepted;
    } catch (const Error& e) {
      CHECK(e.code() == Code::invalid_program || e.code() == Code::version_mismatch);
    }
  };
  for (size_t n = 0; n < good.size(); ++n) {
    std::vector<uint8_t> cut(good.begin(), good.begin() + static_cast<long>(n));
    attempt(cut);
    if (n >= 64) {
      const uint64_t size = n;
      std::memcpy(cut.data() + 20, &size, 8);
      attempt(cut);
    }
  }
  std::mt19937 random(7);
  for (size_t at = 0; at < good.size(); ++at)
    for (const uint8_t flip : {0x01, 0x80, 0xff}) {
      std::vector<uint8_t> bytes = good;
      bytes[at] ^= flip;
      attempt(bytes);
    }
  const uint32_t extremes[] = {0, 1, 63, 64, 0x7fffffff, 0x80000000, 0xffffffff};
  for (int i = 0; i < 20000; ++i) {
    std::vector<uint8_t> bytes = good;
    for (uint32_t k = 1 + random() % 3; k > 0; --k) {
      const size_t at = random() % (bytes.size() / 4) * 4;
      const uint32_t v = random() % 2 ? extremes[random() % 7] : random() % 32;
      std::memcpy(bytes.data() + at, &v, 4);
    }
    attempt(bytes);
  }
  CHECK(accepted > 0 && accepted < tried);
}

}  // namespace

int main() {
  const uint8_t digits[] = {'1', '2', '3', '4', '5', '6', '7', '8', '9'};
  CHECK(crc32(digits, 9) == 0xcbf43926u);
  accepts();
  refuses();
  survives();
  return check::finish("test_decode");
}
