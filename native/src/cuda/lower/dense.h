// Operands of the hand-written kernels: dense, at a fixed place.
#pragma once
#include "cuda/lowering.h"

namespace cf::cuda {

/// A tensor, its dense copy in scratch where it moves with a loop, or scratch itself.
struct Operand {
  Place place;
  uint64_t bytes;
  Operand from(uint64_t at) const { return {{place.kind, place.buffer, place.offset + at}, bytes - at}; }
  bool aligned() const { return place.offset % 16 == 0; }  ///< for accesses of 16 bytes
};

inline Operand source(Lowering& l, const Tensor& t) { return {l.staged(t), 4 * t.elements()}; }
/// Needs finish_staged behind the launches that write it.
inline Operand result(Lowering& l, const Tensor& t) { return {l.staged_result(t), 4 * t.elements()}; }
inline Operand temporary(Lowering& l, uint64_t bytes) { return {l.scratch(bytes), bytes}; }

inline void reads(Launch& launch, size_t at, const Operand& o) { reads(launch, at, o.place, Lowering::range(o.place, o.bytes)); }
inline void writes(Launch& launch, size_t at, const Operand& o) { writes(launch, at, o.place, Lowering::range(o.place, o.bytes)); }

constexpr uint32_t kBlock = 256;  ///< threads of a block, where nothing speaks for another number

inline uint64_t ceil_div(uint64_t a, uint64_t b) { return (a + b - 1) / b; }
inline uint64_t round_up(uint64_t a, uint64_t b) { return ceil_div(a, b) * b; }
inline uint32_t blocks(uint64_t threads) { return static_cast<uint32_t>(ceil_div(threads, kBlock)); }

}  // namespace cf::cuda
