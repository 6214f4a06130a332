// Sums over 2×2 pixels, a row of pairs at a time.
#pragma once
#include <cstddef>

#include "cpu/kernels/isa.h"

// to[q·to_pixel + c] = (or, with `add`, +=) from[2q·channels + c] + from[(2q + 1)·channels + c] for all q < pairs, c < channels.
CF_DECLARE(void pool_pairs(const float* from, size_t pairs, size_t channels, float* to, size_t to_pixel, bool add);)
