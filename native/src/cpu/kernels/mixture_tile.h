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

CF_INLINE void load_tile(const MixtureTile& t, const float* p, float* tile) {
  const size_t c = t.channels, record = c * t.groups, whole = whole_rows(t);
  for (size_t pixel = 0; pixel < t.pixels; ++pixel) {
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
