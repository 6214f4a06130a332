// Writes programs the way src/compile does, so that tests can make good ones and bad ones.
#pragma once
#include <cstring>
#include <string>
#include <vector>

#include "coopflow.h"
#include "program/decode.h"
#include "program/op_table_hash.h"

namespace cf::test {

class ProgramBuilder {
 public:
  uint32_t name(const std::string& text) {
    program.names.push_back(text);
    return static_cast<uint32_t>(program.names.size() - 1);
  }

  uint32_t buffer(BufferKind kind, const std::string& text, std::vector<uint32_t> shape, DType dtype = DType::f32) {
    uint64_t bytes = 4;
    for (uint32_t d : shape) bytes *= d;
    Buffer b{kind, dtype, 0, bytes, text, std::move(shape)};
    if (kind == BufferKind::arena) {
      b.offset = program.arena_bytes;
      program.arena_bytes += (bytes + 63) / 64 * 64;
      b.shape.clear();
    }
    program.buffers.push_back(b);
    return static_cast<uint32_t>(program.buffers.size() - 1);
  }

  uint32_t constant(const std::vector<float>& values) {
    const size_t offset = (program.constants.size() + 63) / 64 * 64;
    program.constants.resize(offset + values.size() * 4);
    std::memcpy(program.constants.data() + offset, values.data(), values.size() * 4);
    program.buffers.push_back({BufferKind::constant, DType::f32, offset, values.size() * 4, "", {}});
    return static_cast<uint32_t>(program.buffers.size() - 1);
  }

  uint32_t tensor(uint32_t buffer, const std::vector<uint32_t>& dims, const std::vector<uint32_t>& strides, uint64_t offset = 0,
                  std::array<uint32_t, kMaxLoops> loops = {}) {
    Tensor t{buffer, program.buffers.at(buffer).dtype, static_cast<uint32_t>(dims.size()), offset, {}, {}, loops};
    for (size_t k = 0; k < dims.size(); ++k) t.dims[k] = dims[k], t.strides[k] = strides[k];
    for (size_t k = dims.size(); k < kMaxRank; ++k) t.dims[k] = 1;
    program.tensors.push_back(t);
    return static_cast<uint32_t>(program.tensors.size() - 1);
  }
  uint32_t dense(uint32_t buffer, const std::vector<uint32_t>& dims) {
    std::vector<uint32_t> strides(dims.size());
    uint32_t s = 1;
    for (size_t k = dims.size(); k-- > 0; s *= dims[k]) strides[k] = s;
    return tensor(buffer, dims, strides);
  }

  uint32_t add(Op op, std::vector<uint32_t> inputs, std::vector<uint32_t> outputs, std::vector<uint32_t> attrs) {
    if (program.names.empty()) name("layer");
    program.instrs.push_back({op, static_cast<uint32_t>(program.names.size() - 1), std::move(inputs), std::move(outputs), std::move(attrs)});
    return static_cast<uint32_t>(program.instrs.size() - 1);
  }
  void commit_here() {
    program.commit = static_cast<uint32_t>(program.instrs.size());
    has_commit_ = true;
  }

  std::vector<uint8_t> bytes() const {
    std::vector<std::string> names = program.names;
    std::vector<uint32_t> words(16);
    const auto pad = [&] { words.resize((words.size() + 15) / 16 * 16); };
    const auto raw = [&](const void* p, size_t n) {
      const size_t at = words.size();
      words.resize(at + (n + 3) / 4);
      if (n) std::memcpy(words.data() + at, p, n);
    };
    const auto wide = [&](uint64_t v) { words.push_back(static_cast<uint32_t>(v)), words.push_back(static_cast<uint32_t>(v >> 32)); };
    for (const Buffer& b : program.buffers) names.push_back(b.name);
    std::string text;
    for (const std::string& n : names) words.push_back(static_cast<uint32_t>(n.size())), text += n;
    raw(text.data(), text.size());
    pad();
    for (size_t i = 0; i < program.buffers.size(); ++i) {
      const Buffer& b = program.buffers[i];
      words.push_back(static_cast<uint32_t>(b.kind)), words.push_back(static_cast<uint32_t>(b.dtype));
      wide(b.offset), wide(b.bytes);
      words.push_back(b.name.empty() ? 0 : static_cast<uint32_t>(program.names.size() + i + 1));
      words.push_back(static_cast<uint32_t>(b.shape.size()));
      for (uint32_t d : b.shape) words.push_back(d);
    }
    pad();
    for (const Tensor& t : program.tensors) {
      words.push_back(t.buffer), words.push_back(static_cast<uint32_t>(t.dtype)), words.push_back(t.rank);
      wide(t.offset);
      for (uint32_t v : t.dims) words.push_back(v);
      for (uint32_t v : t.strides) words.push_back(v);
      for (uint32_t v : t.loop_strides) words.push_back(v);
    }
    pad();
    const size_t code = words.size();
    for (const Instr& i : program.instrs) {
      const size_t n = 6 + i.inputs.size() + i.outputs.size() + i.attrs.size();
      for (size_t v : {static_cast<size_t>(i.op), n, static_cast<size_t>(i.name), i.inputs.size(), i.outputs.size(), i.attrs.size()})
        words.push_back(static_cast<uint32_t>(v));
      for (const auto* list : {&i.inputs, &i.outputs, &i.attrs})
        for (uint32_t v : *list) words.push_back(v);
    }
    const size_t code_words = words.size() - code;
    pad();
    raw(program.constants.data(), program.constants.size());
    pad();
    const uint64_t total = words.size() * 4;
    const uint32_t header[16] = {kProgramMagic,
                                 CF_ABI_VERSION,
                                 static_cast<uint32_t>(kOpTableHash),
                                 static_cast<uint32_t>(kOpTableHash >> 32),
                                 0,
                                 static_cast<uint32_t>(total),
                                 static_cast<uint32_t>(total >> 32),
                                 static_cast<uint32_t>(names.size()),
                                 static_cast<uint32_t>(program.buffers.size()),
                                 static_cast<uint32_t>(program.tensors.size()),
                                 static_cast<uint32_t>(program.instrs.size()),
                                 static_cast<uint32_t>(code_words),
                                 has_commit_ ? program.commit : static_cast<uint32_t>(program.instrs.size()),
                                 static_cast<uint32_t>(program.arena_bytes),
                                 static_cast<uint32_t>(program.arena_bytes >> 32),
                                 static_cast<uint32_t>(program.constants.size())};
    std::memcpy(words.data(), header, sizeof header);
    std::vector<uint8_t> out(total);
    std::memcpy(out.data(), words.data(), total);
    seal(out);
    return out;
  }

  /// Makes the checksum right again after bytes were changed.
  static void seal(std::vector<uint8_t>& bytes) {
    if (bytes.size() < 64) return;
    const uint32_t crc = program_checksum(bytes.data(), bytes.size());
    std::memcpy(bytes.data() + 16, &crc, 4);
  }

  Program program;

 private:
  bool has_commit_ = false;
};

inline uint32_t bits(float v) {
  uint32_t b;
  std::memcpy(&b, &v, 4);
  return b;
}

/// Map attributes of y = x0 ∘ x1 and the like: one instruction, no constants.
inline std::vector<uint32_t> expression(ExprOp op, uint32_t a, uint32_t b, uint32_t inputs) {
  return {0, 1, static_cast<uint32_t>(op), a, b, 0, inputs};
}

}  // namespace cf::test
