// A decoded, validated program. `decode` (decode.h) is the only maker; everything here is immutable afterwards.
// The encoding is described in native/README.md; TypeScript's twin is src/compile/program.ts.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "program/ops.h"

namespace cf {

constexpr uint32_t kMaxRank = 6;
constexpr uint32_t kMaxLoops = 3;  ///< how deep `repeat` may nest

enum class DType : uint32_t { f32 = 0, u32 = 1 };  // both are four bytes wide

enum class BufferKind : uint32_t {
  state = 0,     ///< named, persistent, owned by the context; shared by every program that names it
  feed = 1,      ///< written by the host before a run; owned by the program
  fetch = 2,     ///< read by the host after a run; owned by the program
  constant = 3,  ///< in the program's constant section
  arena = 4,     ///< temporary: a range of the context's arena
};

struct Buffer {
  BufferKind kind;
  DType dtype;
  uint64_t offset;  ///< bytes, 64-aligned: into the arena or the constant section; 0 for the others
  uint64_t bytes;
  std::string name;             ///< state, feed and fetch
  std::vector<uint32_t> shape;  ///< state, feed and fetch: what the host sees
};

/// A strided window on a buffer. Element (i0, i1, …) lives at offset + Σ i_k·strides[k] + Σ loop_k·loop_strides[k], counted in elements.
/// A stride of 0 repeats (broadcast) and is only allowed for operands that are read.
struct Tensor {
  uint32_t buffer;
  DType dtype;
  uint32_t rank;
  uint64_t offset;
  std::array<uint32_t, kMaxRank> dims{};
  std::array<uint32_t, kMaxRank> strides{};
  std::array<uint32_t, kMaxLoops> loop_strides{};  ///< per nesting level of `repeat`, outermost first

  uint64_t elements() const noexcept {
    uint64_t n = 1;
    for (uint32_t i = 0; i < rank; ++i) n *= dims[i];
    return n;
  }
  /// Row-major without holes (dimensions of size 1 may have any stride).
  bool dense() const noexcept {
    uint64_t expected = 1;
    for (uint32_t i = rank; i-- > 0;) {
      if (dims[i] != 1 && strides[i] != expected) return false;
      expected *= dims[i];
    }
    return true;
  }
};

struct Instr {
  Op op;
  uint32_t name;  ///< index into Program::names: the layer it came from, for errors and profiles
  std::vector<uint32_t> inputs;   ///< indices into Program::tensors
  std::vector<uint32_t> outputs;  ///< indices into Program::tensors
  std::vector<uint32_t> attrs;    ///< op-specific words; floats as bit patterns (see ops.h)
};

struct Program {
  std::vector<Buffer> buffers;
  std::vector<Tensor> tensors;
  std::vector<Instr> instrs;
  std::vector<std::string> names;
  std::vector<uint8_t> constants;  ///< copied to 64-byte aligned memory by the executor
  uint64_t arena_bytes = 0;
  uint32_t commit = 0;  ///< first instruction of the commit section (= instrs.size() when there is none)
};

}  // namespace cf
