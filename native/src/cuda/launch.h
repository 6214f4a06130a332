// A program as a GPU runs it: kernels in order, nothing left to decide. Made without a GPU, printed and checked by tests.
#pragma once
#include <array>
#include <cstdint>
#include <cstring>
#include <string>
#include <unordered_map>
#include <vector>

#include "program/program.h"

namespace cf::cuda {

/// A byte address that is known when a program is bound: inside one of its buffers, in the scratch area, or the loop counters (uint32[kMaxLoops]).
struct Place {
  enum class Kind : uint8_t { buffer, scratch, loops } kind = Kind::scratch;
  uint32_t buffer = 0;  ///< index into Program::buffers
  uint64_t offset = 0;  ///< bytes
};

/// Bytes [begin, end) of what `place` points into; the whole range over all iterations of the loops around.
struct Range {
  Place::Kind kind;
  uint32_t buffer;
  uint64_t begin, end;
};

/// A kernel as text. `text` is a whole translation unit that defines `extern "C" __global__ void cf_kernel(const Args a)`, where Args is plain data of
/// at most 4 KB. It may include the headers of native/src that device code shares ("cuda/kernels/…", "common/…"). CUDA C++ that is also C++17:
/// cuda/kernels/device.h says what may be used, so that tests can compile it for the host.
struct Kernel {
  std::string text;
  /// Threads of a block wait for each other or exchange values: __syncthreads, shuffles.
  bool cooperates = false;
};

/// C[b] = A[b]·B[b] (+ bias), all float32, row-major [m, n] with the given strides in elements. Exactly one of an operand's two inner strides is 1.
struct Matmul {
  uint32_t batch, m, n, k;
  struct Operand {
    Place place;
    uint64_t batch_stride, row_stride, column_stride;
  } a, b, c;  ///< c.column_stride = 1
  bool has_bias = false;
  Place bias;  ///< [n]
};

/// A convolution that is no matrix product and no Winograd: NHWC data, weights [O, kh, kw, I] (dense), through cuDNN; its sums are float32.
struct Convolution {
  enum class Kind : uint8_t { forward, data_grad, weight_grad } kind;
  bool bf16 = false;  ///< all three operands hold bfloat16, else float32
  uint32_t n, h, w, i, oh, ow, o, kh, kw, stride, padding;
  Place x, weights, y;  ///< data_grad writes x, weight_grad writes weights
};

/// One thing that the GPU does.
struct Launch {
  enum class Kind : uint8_t { kernel, matmul, convolution } kind;
  std::string name;    ///< what it is, for errors, profiles and the printed list: "map", "winograd_input", …
  uint32_t instr = 0;  ///< the instruction of the program that it comes from
  std::vector<Range> reads, writes;

  // kind kernel
  uint32_t kernel = 0;  ///< index into LaunchList::kernels
  std::array<uint32_t, 3> grid{1, 1, 1}, block{1, 1, 1};
  uint32_t shared_bytes = 0;  ///< dynamic shared memory
  std::vector<uint8_t> args;  ///< the kernel's Args; its pointers are filled in when the program is bound
  struct Pointer {
    uint32_t at;  ///< byte offset in args
    Place place;
  };
  std::vector<Pointer> pointers;

  // the others
  Matmul matmul{};
  Convolution convolution{};
};

/// Launches [begin, end), or a loop around nodes. Before each pass loops[level] is set on the device.
struct Node {
  uint32_t begin = 0, end = 0;
  uint32_t count = 0, level = 0;  ///< count 0: not a loop
  bool reversed = false;
  std::vector<Node> body;
};

struct LaunchList {
  std::vector<Kernel> kernels;  ///< each text once
  std::vector<Launch> launches;
  std::vector<Node> before_commit, commit;
  uint64_t scratch_bytes = 0;  ///< nothing is kept in scratch between instructions

  /// Index of the kernel with this text.
  uint32_t kernel(Kernel k);

 private:
  std::unordered_map<std::string, uint32_t> known_;
};

/// Multiplications and additions of one execution of an instruction, for profiles; convolutions count as direct ones.
double flops(const Program& program, const Instr& instr);

/// One line a launch, loops indented: what tests compare.
std::string print(const LaunchList& list, const Program& program);

}  // namespace cf::cuda
