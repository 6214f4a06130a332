// Copies whole pixels between [pixel][group][channel] and the tile [group][element].
#pragma once
#include "cpu/kernels/mixture.h"
#include "cpu/kernels/vec.h"

namespace cf::cpu::CF_ISA {

struct MixtureTile {
  size_t channels, groups, stride;
  size_t pixels;  ///< in this tile
  size_t count;   ///< elements in this tile
  size_t first;   ///< index of the first element in [image][pixel][channel]
  size_t image;
  size_t vectors() const { return (count + kWidth - 1) / kWidth; }
};

CF_INLINE MixtureTile mixture_tile(const MixtureShape& s, size_t index) {
  MixtureTile t;
  t.channels = s.channels, t.groups = s.groups(), t.stride = s.tile_stride();
  t.image = index / s.image_tiles();
  const size_t pixel = index % s.image_tiles() * s.tile_pixels(), left = s.pixels - pixel;
  t.pixels = left < s.tile_pixels() ? left : s.tile_pixels();
  t.count = t.pixels * t.channels;
  t.first = (t.image * s.pixels + pixel) * t.channels;
  return t;
}

/// How many rows of `channels` floats can be moved as whole vectors without leaving the record of their pixel.
CF_INLINE size_t whole_rows(const MixtureTile& t) {
  const size_t over = (kWidth + t.channels - 1) / t.channels;
  return t.groups + 1 > over ? t.groups + 1 - over : 0;
}

/// Elements after the last are zero up to a whole vector, which is harmless to compute with.
CF_INLINE void zero_tail(const MixtureTile& t, float* row) {
  for (size_t e = t.count; e < t.vectors() * kWidth; ++e) row[e] = 0.0f;
}

/// dst[j·dst_row + i] = src[i·src_row + j] for i < rows, j < columns: blocks of 4 × 4, what is left one by one.
static __attribute__((noinline)) void transpose(const float* src, size_t src_row, float* dst, size_t dst_row, size_t rows, size_t columns) {
  typedef float f4 __attribute__((vector_size(16)));
  typedef float f4_any __attribute__((vector_size(16), aligned(4), may_alias));
  auto get = [](const float* p) __attribute__((always_inline)) { return (f4)*reinterpret_cast<const f4_any*>(p); };
  auto put = [](float* p, f4 v) __attribute__((always_inline)) { *reinterpret_cast<f4_any*>(p) = v; };
  size_t i = 0;
  for (; i + 4 <= rows; i += 4) {
    size_t j = 0;
    for (; j + 4 <= columns; j += 4) {
      const float* s = src + i * src_row + j;
      float* d = dst + j * dst_row + i;
      const f4 a = get(s), b = get(s + src_row), c = get(s + 2 * src_row), e = get(s + 3 * src_row);
      const f4 ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5), ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
      const f4 ce_low = __builtin_shufflevector(c, e, 0, 4, 1, 5), ce_high = __builtin_shufflevector(c, e, 2, 6, 3, 7);
      put(d, __builtin_shufflevector(ab_low, ce_low, 0, 1, 4, 5));
      put(d + dst_row, __builtin_shufflevector(ab_low, ce_low, 2, 3, 6, 7));
      put(d + 2 * dst_row, __builtin_shufflevector(ab_high, ce_high, 0, 1, 4, 5));
      put(d + 3 * dst_row, __builtin_shufflevector(ab_high, ce_high, 2, 3, 6, 7));
    }
    for (; j < columns; ++j)
      for (size_t r = i; r < i + 4; ++r) dst[j * dst_row + r] = src[r * src_row + j];
  }
  for (; i < rows; ++i)
    for (size_t j = 0; j < columns; ++j) dst[j * dst_row + i] = src[i * src_row + j];
}

CF_INLINE void load_tile(const MixtureTile& t, const float* p, float* tile) {
  const size_t c = t.channels, record = c * t.groups, whole = whole_rows(t);
  // With one channel, copying row by row would move one float at a time.
  if (c == 1) transpose(p + t.first * t.groups, record, tile, t.stride, t.pixels, t.groups);
  for (size_t pixel = c == 1 ? t.pixels : 0; pixel < t.pixels; ++pixel) {
    const float* src = p + t.first * t.groups + pixel * record;
    float* dst = tile + pixel * c;
    if (c <= static_cast<size_t>(kWidth)) {
      // Whole vectors, though only c of their floats are meant: the next pixel overwrites the rest.
      for (size_t g = 0; g < whole; ++g) store(dst + g * t.stride, load(src + g * c));
      for (size_t g = whole; g < t.groups; ++g) store(dst + g * t.stride, load_first(src + g * c, static_cast<int>(c)));
    } else {
      for (size_t g = 0; g < t.groups; ++g) {
        size_t i = 0;
        for (; i + kWidth <= c; i += kWidth) store(dst + g * t.stride + i, load(src + g * c + i));
        if (i < c) store(dst + g * t.stride + i, load_first(src + g * c + i, static_cast<int>(c - i)));
      }
    }
  }
  if (t.count % kWidth)
    for (size_t g = 0; g < t.groups; ++g) zero_tail(t, tile + g * t.stride);
}

CF_INLINE void store_tile(const MixtureTile& t, const float* tile, float* p) {
  const size_t c = t.channels, record = c * t.groups, whole = whole_rows(t);
  if (c == 1) return transpose(tile, t.stride, p + t.first * t.groups, record, t.groups, t.pixels);
  for (size_t pixel = 0; pixel < t.pixels; ++pixel) {
    float* dst = p + t.first * t.groups + pixel * record;
    const float* src = tile + pixel * c;
    if (c <= static_cast<size_t>(kWidth)) {
      // Rows in ascending order: what a whole vector writes too much, the next row overwrites.
      for (size_t g = 0; g < whole; ++g) store(dst + g * c, load(src + g * t.stride));
      for (size_t g = whole; g < t.groups; ++g) store_first(dst + g * c, load(src + g * t.stride), static_cast<int>(c));
    } else {
      for (size_t g = 0; g < t.groups; ++g) {
        size_t i = 0;
        for (; i + kWidth <= c; i += kWidth) store(dst + g * c + i, load(src + g * t.stride + i));
        if (i < c) store_first(dst + g * c + i, load(src + g * t.stride + i), static_cast<int>(c - i));
      }
    }
  }
}

/// Part v of what the next tile will read, fetched while this one computes: at 98 floats an element the parameters come from beyond the caches.
CF_INLINE void prefetch_next(const MixtureTile& t, const float* p, size_t v) {
  const size_t bytes = t.count * t.groups * sizeof(float), part = bytes / t.vectors() + 64;
  const char* at = reinterpret_cast<const char*>(p + (t.first + t.count) * t.groups) + v * part;
  for (size_t i = 0; i < part; i += 64) __builtin_prefetch(at + i, 0, 2);
}

/// One value per channel, repeated for every pixel of the tile.
CF_INLINE void repeat_channels(const MixtureTile& t, const float* values, float* row) {
  for (size_t e = 0, c = 0; e < t.count; ++e) {
    row[e] = values[c];
    c = c + 1 == t.channels ? 0 : c + 1;
  }
  zero_tail(t, row);
}

/// `count` floats of a contiguous tensor that start at vector v of the tile.
CF_INLINE vf load_elements(const MixtureTile& t, const float* p, size_t v) {
  const size_t left = t.count - v * kWidth;
  const float* at = p + t.first + v * kWidth;
  return left >= static_cast<size_t>(kWidth) ? load(at) : load_first(at, static_cast<int>(left));
}
CF_INLINE void store_elements(const MixtureTile& t, float* p, size_t v, vf x) {
  const size_t left = t.count - v * kWidth;
  float* at = p + t.first + v * kWidth;
  if (left >= static_cast<size_t>(kWidth))
    store(at, x);
  else
    store_first(at, x, static_cast<int>(left));
}

/// Sum of the first `count` floats in double: four chains, in an order that depends on nothing else.
CF_INLINE double sum_elements(const float* row, size_t count) {
  double s[4] = {0, 0, 0, 0};
  size_t i = 0;
  for (; i + 4 <= count; i += 4)
    for (size_t j = 0; j < 4; ++j) s[j] += row[i + j];
  for (; i < count; ++i) s[0] += row[i];
  return (s[0] + s[1]) + (s[2] + s[3]);
}

}  // namespace cf::cpu::CF_ISA
