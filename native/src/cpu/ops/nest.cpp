#include "cpu/ops/nest.h"

#include <algorithm>

namespace cf::cpu {

Nest make_nest(const uint32_t* dims, const std::vector<std::array<uint32_t, kMaxRank>>& strides, const std::vector<uint32_t>& order) {
  const Space space = simplify(dims, strides, order);
  Nest nest;
  nest.rank = space.rank, nest.dims = space.dims;
  nest.operands.resize(strides.size());
  for (size_t i = 0; i < strides.size(); ++i) nest.operands[i].strides = space.strides[i];
  nest.cols = nest.dims[nest.rank - 1];
  for (uint32_t k = 0; k + 1 < nest.rank; ++k) nest.rows *= nest.dims[k];
  for (Nest::Operand& o : nest.operands) {
    uint64_t dense = 1;
    o.uniform = o.flat = o.periodic = true;
    for (uint32_t k = nest.rank; k-- > 0; dense *= nest.dims[k]) {
      if (nest.dims[k] == 1) continue;
      o.uniform = o.uniform && o.strides[k] == 0;
      o.flat = o.flat && o.strides[k] == dense;
      if (k + 1 < nest.rank) o.periodic = o.periodic && o.strides[k] == 0;
    }
    o.last = nest.elements() == 1 ? 1 : o.strides[nest.rank - 1];
  }
  return nest;
}

namespace {

/// Calls f(offsets of the operands, rows) for runs of rows along the second-innermost dimension.
template <size_t kOperands, class F>
void walk(const Nest& nest, const std::array<const Nest::Operand*, kOperands>& operands, uint64_t row, uint64_t rows, F&& f) {
  std::array<uint64_t, kOperands> offset{};
  if (nest.rank == 1) return f(offset, uint64_t{1});
  const uint64_t run = nest.dims[nest.rank - 2];
  std::array<uint64_t, kMaxRank> at{};
  const auto move = [&](uint32_t k, uint64_t steps) {
    for (size_t i = 0; i < kOperands; ++i) offset[i] += steps * operands[i]->strides[k];
  };
  uint64_t rest = row;
  for (uint32_t k = nest.rank - 1; k-- > 0; rest /= nest.dims[k]) move(k, at[k] = rest % nest.dims[k]);
  for (;;) {
    uint32_t k = nest.rank - 2;
    const uint64_t n = std::min(rows, run - at[k]);
    f(offset, n);
    rows -= n;
    if (rows == 0) return;
    const auto back = [&] {
      for (size_t i = 0; i < kOperands; ++i) offset[i] -= at[k] * operands[i]->strides[k];
      at[k] = 0;
    };
    back();
    while (k-- > 0) {
      move(k, 1);
      if (++at[k] < nest.dims[k]) break;
      back();
    }
  }
}

}  // namespace

void Nest::gather(const Operand& o, const float* base, uint64_t row, uint64_t n, uint64_t col, uint64_t width, float* to, Copy2d copy) const {
  walk<1>(*this, {&o}, row, n, [&](const auto& offset, uint64_t run) {
    copy(base + offset[0] + col * o.last, row_step(o), o.last, to, width, 1, run, width);
    to += run * width;
  });
}

void Nest::scatter(const Operand& o, float* base, uint64_t row, uint64_t n, uint64_t col, uint64_t width, const float* from, Copy2d copy) const {
  walk<1>(*this, {&o}, row, n, [&](const auto& offset, uint64_t run) {
    copy(from, width, 1, base + offset[0] + col * o.last, row_step(o), o.last, run, width);
    from += run * width;
  });
}

void Nest::transfer(const Operand& src, const float* in, const Operand& dst, float* out, uint64_t row, uint64_t n, uint64_t col, uint64_t width,
                    Copy2d copy) const {
  walk<2>(*this, {&src, &dst}, row, n, [&](const auto& offset, uint64_t run) {
    copy(in + offset[0] + col * src.last, row_step(src), src.last, out + offset[1] + col * dst.last, row_step(dst), dst.last, run, width);
  });
}

const float* Nest::read(const Operand& o, const float* base, uint64_t row, uint64_t n, uint64_t col, uint64_t width, float* buffer, uint8_t* broadcast,
                        Copy2d copy) const {
  *broadcast = o.uniform;
  if (o.uniform) return base;
  if (o.flat && (n == 1 || width == cols)) return base + row * cols + col;
  if (n == 1 && straight(o)) {
    *broadcast = o.last == 0;
    return base + offset(o, row) + col * o.last;
  }
  gather(o, base, row, n, col, width, buffer, copy);
  return buffer;
}

void Nest::read_all(uint32_t n, const float* const* base, uint64_t row, uint64_t rows_, uint64_t col, uint64_t cols_, float* blocks, uint32_t* ready,
                    const float** from, uint8_t* broadcast, Copy2d copy) const {
  for (uint32_t i = 0; i < n; ++i) {
    const Operand& o = operands[i];
    float* const block = blocks + i * kBlock;
    if (ready && (*ready >> i & 1)) {
      from[i] = block, broadcast[i] = 0;
      continue;
    }
    from[i] = read(o, base[i], row, rows_, col, cols_, block, &broadcast[i], copy);
    if (ready && o.periodic && from[i] == block) *ready |= 1u << i;
  }
}

}  // namespace cf::cpu
