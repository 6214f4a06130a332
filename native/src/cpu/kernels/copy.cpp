#include "cpu/kernels/copy.h"

#include <cstring>

#include "cpu/kernels/vec.h"

namespace cf::cpu::CF_ISA {
namespace {

/// A contiguous row. Short ones are many, and a call of memcpy costs more than they do.
CF_INLINE void copy_row(const float* src, float* dst, size_t n) {
  if (n > 256) {
    std::memcpy(dst, src, n * sizeof(float));
    return;
  }
  size_t i = 0;
  for (; i + kWidth <= n; i += kWidth) store(dst + i, load(src + i));
  for (; i + 4 <= n; i += 4) __builtin_memcpy(dst + i, src + i, 16);
  for (; i < n; ++i) dst[i] = src[i];
}

template <size_t kCols>
CF_INLINE void copy_narrow(const float* src, size_t src_row, size_t src_col, float* dst, size_t dst_row, size_t dst_col, size_t rows) {
  if (src_col == 1 && dst_col == 1) {
    // Of a known size, a row is one or two moves.
    for (size_t r = 0; r < rows; ++r) __builtin_memcpy(dst + r * dst_row, src + r * src_row, kCols * sizeof(float));
  } else {
    for (size_t r = 0; r < rows; ++r)
      for (size_t c = 0; c < kCols; ++c) dst[r * dst_row + c * dst_col] = src[r * src_row + c * src_col];
  }
}

void fill_row(float value, float* dst, size_t n) {
  size_t i = 0;
  for (; i + kWidth <= n; i += kWidth) store(dst + i, splat(value));
  for (; i < n; ++i) dst[i] = value;
}

}  // namespace

void copy_2d(const float* src, size_t src_row, size_t src_col, float* dst, size_t dst_row, size_t dst_col, size_t rows, size_t cols) {
  switch (cols) {
    case 1: return copy_narrow<1>(src, src_row, src_col, dst, dst_row, dst_col, rows);
    case 2: return copy_narrow<2>(src, src_row, src_col, dst, dst_row, dst_col, rows);
    case 3: return copy_narrow<3>(src, src_row, src_col, dst, dst_row, dst_col, rows);
    case 4: return copy_narrow<4>(src, src_row, src_col, dst, dst_row, dst_col, rows);
    default: break;
  }
  if (src_col == 1 && dst_col == 1) {
    for (size_t r = 0; r < rows; ++r) copy_row(src + r * src_row, dst + r * dst_row, cols);
  } else if (src_col == 0 && dst_col == 1) {
    for (size_t r = 0; r < rows; ++r) fill_row(src[r * src_row], dst + r * dst_row, cols);
  } else if (src_row < src_col && dst_row >= dst_col && rows >= 8) {
    // A transpose: whole cache lines of the source at a time.
    for (size_t r0 = 0; r0 < rows; r0 += 16) {
      const size_t r1 = r0 + 16 < rows ? r0 + 16 : rows;
      for (size_t c = 0; c < cols; ++c)
        for (size_t r = r0; r < r1; ++r) dst[r * dst_row + c * dst_col] = src[r * src_row + c * src_col];
    }
  } else {
    for (size_t r = 0; r < rows; ++r)
      for (size_t c = 0; c < cols; ++c) dst[r * dst_row + c * dst_col] = src[r * src_row + c * src_col];
  }
}

}  // namespace cf::cpu::CF_ISA
