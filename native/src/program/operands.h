// Checks of an instruction's operands, for op families whose operands are all dense.
#pragma once
#include <string>
#include <vector>

#include "program/program.h"

namespace cf {

/// Throws Error{invalid_program} with the op's name and the layer the instruction came from.
[[noreturn]] void refuse(const Program& program, const Instr& instr, const std::string& message);

class Operands {
 public:
  /// Throws unless the instruction has this many inputs, outputs and attribute words.
  Operands(const Program& program, const Instr& instr, size_t inputs, size_t outputs, size_t attrs) : program_(program), instr_(instr) {
    expect("inputs", inputs, instr.inputs.size());
    expect("outputs", outputs, instr.outputs.size());
    expect("attribute words", attrs, instr.attrs.size());
  }

  /// Any dense float32 operand of this rank.
  const Tensor& input_of_rank(size_t i, const char* name, uint32_t rank) const { return ranked(at(instr_.inputs, i), name, rank); }
  /// Dense operands of exactly these dimensions.
  const Tensor& input(size_t i, const char* name, const std::vector<size_t>& dims, DType type = DType::f32) const {
    return exact(at(instr_.inputs, i), name, dims, type);
  }
  const Tensor& output(size_t i, const char* name, const std::vector<size_t>& dims, DType type = DType::f32) const {
    return exact(at(instr_.outputs, i), name, dims, type);
  }

  uint32_t attr(size_t i) const { return instr_.attrs[i]; }
  float attr_float(size_t i) const {
    float f;
    static_assert(sizeof f == sizeof(uint32_t), "float32");
    __builtin_memcpy(&f, &instr_.attrs[i], sizeof f);
    return f;
  }
  [[noreturn]] void bad(const std::string& message) const { refuse(program_, instr_, message); }

  static std::vector<size_t> dims_of(const Tensor& t) { return std::vector<size_t>(t.dims.begin(), t.dims.begin() + t.rank); }

 private:
  void expect(const char* what, size_t expected, size_t found) const {
    if (expected != found) bad("expected " + std::to_string(expected) + " " + what + ", found " + std::to_string(found));
  }
  const Tensor& at(const std::vector<uint32_t>& ids, size_t i) const { return program_.tensors[ids[i]]; }
  const Tensor& ranked(const Tensor& t, const char* name, uint32_t rank) const {
    if (t.rank != rank || t.dtype != DType::f32 || !t.dense())
      bad(std::string(name) + ": expected dense float32 of rank " + std::to_string(rank) + ", found " + describe(t));
    return t;
  }
  const Tensor& exact(const Tensor& t, const char* name, const std::vector<size_t>& dims, DType type) const {
    if (dims_of(t) != dims || t.dtype != type || !t.dense())
      bad(std::string(name) + ": expected dense " + type_name(type) + " " + list(dims) + ", found " + describe(t));
    return t;
  }
  static const char* type_name(DType type) { return type == DType::f32 ? "float32" : "uint32"; }
  static std::string describe(const Tensor& t) { return std::string(t.dense() ? "dense " : "strided ") + type_name(t.dtype) + " " + list(dims_of(t)); }
  static std::string list(const std::vector<size_t>& dims) {
    std::string s = "[";
    for (size_t i = 0; i < dims.size(); ++i) s += (i ? ", " : "") + std::to_string(dims[i]);
    return s + "]";
  }

  const Program& program_;
  const Instr& instr_;
};

}  // namespace cf
