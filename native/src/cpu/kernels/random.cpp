#include "cpu/kernels/random.h"

#include "common/philox.h"
#include "cpu/kernels/vec.h"

namespace cf::cpu::CF_ISA {
namespace {

constexpr int kLanes = 16;  ///< counters at a time; loops over them are what the compiler vectorises

struct Words {
  alignas(64) uint32_t w[4][kLanes];
};

CF_INLINE void philox_lanes(const DrawKey& key, const uint32_t* block, const uint32_t* sample, Words& out) {
  for (int i = 0; i < kLanes; ++i) {
    uint32_t word[4];
    philox_at(key.seed, key.stream, block[i], sample[i], key.iteration, key.loop, word);
    out.w[0][i] = word[0], out.w[1][i] = word[1], out.w[2][i] = word[2], out.w[3][i] = word[3];
  }
}

struct Uniform {
  CF_INLINE void turn(const Words& in, float (*out)[kLanes]) {
    for (int k = 0; k < 4; ++k)
      for (int i = 0; i < kLanes; ++i) out[k][i] = uniform_from(in.w[k][i]);
  }
};

struct Normal {
  CF_INLINE void turn(const Words& in, float (*out)[kLanes]) {
    for (int k = 0; k < 4; k += 2)
      for (int i = 0; i < kLanes; ++i) normal_pair(in.w[k][i], in.w[k + 1][i], out[k][i], out[k + 1][i]);
  }
};

template <class Kind>
void draw(const DrawKey& key, size_t elements, size_t begin, size_t end, float* out) {
  const size_t blocks = blocks_of(elements);
  size_t row = begin / blocks, at = begin % blocks;
  for (size_t g = begin; g < end; g += kLanes) {
    const int count = static_cast<int>(end - g < kLanes ? end - g : kLanes);
    uint32_t block[kLanes], sample[kLanes];
    float* to[kLanes];
    int room[kLanes];
    for (int i = 0; i < kLanes; ++i) {
      block[i] = static_cast<uint32_t>(at), sample[i] = key.first_sample + static_cast<uint32_t>(row);
      to[i] = out + row * elements + at * 4;
      room[i] = i < count ? static_cast<int>(elements - at * 4 < 4 ? elements - at * 4 : 4) : 0;
      if (++at == blocks) at = 0, ++row;
    }
    Words words;
    alignas(64) float draws[4][kLanes];
    philox_lanes(key, block, sample, words);
    Kind::turn(words, draws);
    for (int i = 0; i < kLanes; ++i)
      for (int k = 0; k < room[i]; ++k) to[i][k] = draws[k][i];
  }
}

}  // namespace

void draw_uniform(const DrawKey& key, size_t elements, size_t begin, size_t end, float* out) { draw<Uniform>(key, elements, begin, end, out); }
void draw_normal(const DrawKey& key, size_t elements, size_t begin, size_t end, float* out) { draw<Normal>(key, elements, begin, end, out); }

}  // namespace cf::cpu::CF_ISA
