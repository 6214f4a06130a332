// Elementary functions on vectors: branch-free, within 2 units in the last place (tanh, sigmoid, softplus: 4), right at infinities and NaN.
// Results and arguments below the smallest normal number count as zero.
#pragma once
#include "cpu/kernels/vec.h"

namespace cf::cpu::CF_ISA {

constexpr float kInf = __builtin_inff();
constexpr float kLog2e = 1.44269504f;
constexpr float kLn2 = 0.693147181f;
constexpr float kLn2Hi = 0.693145751953125f;  // 19 bits, so that products with exponents are exact
constexpr float kLn2Lo = 1.42860682e-6f;

/// x·2^n, without a check of the range: for what is no number the result is rubbish, which unsigned arithmetic makes without overflowing.
CF_INLINE vf scale_by(vf x, vi n) { return (vf)((vu)x + ((vu)n << 23)); }
/// 2^n for whole n in [-126, 127].
CF_INLINE vf pow2_int(vi n) { return scale_by(splat(1.0f), n); }

/// x = n·ln 2 + r with |r| ≤ ln 2 / 2, and e^r − 1, for |x| ≤ 104. The sum with 1.5·2^23 leaves n in the low bits.
struct ExpParts {
  vi n;
  vf em1;
};
CF_INLINE ExpParts exp_parts(vf x) {
  const vf magic = splat(12582912.0f);
  const vf t = fma(x, splat(kLog2e), magic), n = t - magic;
  const vf r = fnma(n, splat(kLn2Lo), fnma(n, splat(kLn2Hi), x));
  vf q = splat(0.00139261759f);
  q = fma(q, r, splat(0.00836317334f));
  q = fma(q, r, splat(0.0416665561f));
  q = fma(q, r, splat(0.166665778f));
  q = fma(q, r, splat(0.5f));
  return {(vi)((vu)t - 0x4b400000u), fma(q, r * r, r)};
}

CF_INLINE vf vexp(vf x) {
  const ExpParts e = exp_parts(x);
  const vf y = scale_by(e.em1 + splat(1.0f), e.n);
  // The last addition makes +∞ of what overflows and keeps NaN.
  return select(x <= splat(88.7228317f), select(x < splat(-87.3365402f), vf{}, y), x + splat(kInf));
}

/// 2^y for y ≤ 127; below -126 as there. NaN stays NaN. Cheaper than vexp: base 2 needs no range reduction, and there are no special cases.
CF_INLINE vf exp2_clamped(vf y) {
  y = vmax(splat(-126.0f), y);
  // 1.5·2^23 + 127: the low bits of the sum are n + 127, ready to become an exponent. A product then keeps NaN, whatever its bits.
  const vf magic = splat(12583039.0f), shifted = y + magic, r = y - (shifted - magic);
  vf q = splat(0.000154531634f);
  q = fma(q, r, splat(0.00133908633f));
  q = fma(q, r, splat(0.00961808302f));
  q = fma(q, r, splat(0.0555035695f));
  q = fma(q, r, splat(0.240226507f));
  q = fma(q, r, splat(0.693147182f));
  q = fma(q, r, splat(1.0f));
  return q * (vf)((vu)shifted << 23);
}

CF_INLINE vf vexpm1(vf x) {
  const ExpParts e = exp_parts(vmax(splat(-20.0f), x));
  const vf half = pow2_int((vi)((vu)e.n - 1u));  // 2^n / 2, since 2^128 is no float
  const vf y = fma(half, e.em1, half - splat(0.5f));
  return select(x <= splat(88.7228317f), y + y, x + splat(kInf));
}

/// e^(−|x|) − 1: no case to tell apart, since nothing overflows.
CF_INLINE vf vexpm1_negative(vf x) {
  const ExpParts e = exp_parts(vmax(splat(-20.0f), -vabs(x)));
  const vf scale = pow2_int(e.n);
  return fma(scale, e.em1, scale - splat(1.0f));
}
/// elu(x) = x > 0 ? x : e^x − 1, given e^(−|x|) − 1: the larger of the two, because e^x − 1 ≥ x. NaN is in both.
CF_INLINE vf velu(vf x, vf expm1) { return vmax(x, expm1); }

/// ln(2^e·(1 + t)) for √½ ≤ 1 + t < √2.
CF_INLINE vf log_parts(vf e, vf t) {
  vf p = splat(0.0697161183f);
  p = fma(p, t, splat(-0.114797339f));
  p = fma(p, t, splat(0.116854198f));
  p = fma(p, t, splat(-0.124256872f));
  p = fma(p, t, splat(0.142490581f));
  p = fma(p, t, splat(-0.166678026f));
  p = fma(p, t, splat(0.200007156f));
  p = fma(p, t, splat(-0.24999997f));
  p = fma(p, t, splat(0.333333313f));
  const vf q = t * t;
  const vf low = fma(t * q, p, fma(e, splat(kLn2Lo), q * splat(-0.5f)));
  return fma(e, splat(kLn2Hi), t + low);
}
/// The e of log_parts: 2^e takes x into [√½, √2).
CF_INLINE vi log_exponent(vf x) { return (vi)((vu)x - 0x3f3504f3u) >> 23; }

CF_INLINE vf vlog(vf x) {
  const vi e = log_exponent(x);
  const vf y = log_parts(to_float(e), scale_by(x, vi{} - e) - splat(1.0f));
  const vf low = select(x < vf{}, splat(__builtin_nanf("")), splat(-kInf));
  // ∞ and NaN stay; what is below the smallest normal number is zero or negative.
  return select(x < splat(kInf), select(x >= splat(1.17549435e-38f), y, low), x);
}

/// ln(1 + x) where −1 < x < ∞.
CF_INLINE vf log1p_inner(vf x) {
  const vf u = x + splat(1.0f);
  // What rounding took from 1 + x, scaled like u, goes into the polynomial's argument.
  const vf c = select(x < splat(1.0f), x - (u - splat(1.0f)), splat(1.0f) - (u - x));
  const vi e = log_exponent(u);
  const vf t = scale_by(u, vi{} - e) - splat(1.0f);
  return log_parts(to_float(e), fma(c, pow2_int(vi{} - e), t));
}
CF_INLINE vf vlog1p(vf x) {
  const vf low = select(x < splat(-1.0f), splat(__builtin_nanf("")), splat(-kInf));
  // Above 2^60 the 1 is nothing, and the scaling of its error would overflow.
  const vf y = select(x < splat(1.15292150e18f), log1p_inner(x), vlog(x));
  return select(x <= splat(-1.0f), low, select(vabs(x) < splat(1.0e-15f), x, y));
}

CF_INLINE vf vrecip(vf x) { return splat(1.0f) / x; }
CF_INLINE vf vrsqrt(vf x) { return splat(1.0f) / vsqrt(x); }

CF_INLINE vf vtanh(vf x) {
  const vf a = vmin(splat(10.0f), vabs(x));
  const ExpParts e = exp_parts(a + a);
  const vf s = pow2_int(e.n), em1 = fma(s, e.em1, s - splat(1.0f));
  const vf y = em1 / (em1 + splat(2.0f));
  return as_float(as_int(y) | (as_int(x) & splat_i(INT32_MIN)));
}

/// 1/a for 1 ≤ a < 2^126, within 2 units in the last place.
CF_INLINE vf recip_large(vf a) {
#if defined(CF_VEC_AVX512)
  // A division occupies the divider for as long as a dozen other operations take: 14 bits from a table and one step of Newton's are faster.
  const vf r = (vf)_mm512_maskz_rcp14_ps(kAll, (__m512)a);
  return r * fnma(a, r, splat(2.0f));
#else
  return splat(1.0f) / a;
#endif
}

#if defined(CF_VEC_AVX512)
/// 2^(k/16).
alignas(64) constexpr float kSixteenths[16] = {
    1.0f, 1.04427373f, 1.09050775f, 1.13878858f, 1.18920708f, 1.24185777f, 1.29683959f, 1.35425556f,
    1.41421354f, 1.47682619f, 1.54221082f, 1.61049032f, 1.68179286f, 1.75625217f, 1.8340081f, 1.91520655f};
#endif

/// e^−x for |x| ≤ 87.4, NaN stays. Where a register holds a table of 16 numbers, the polynomial is half as long as in exp_parts; its multiplications take the time.
CF_INLINE vf exp_minus(vf x) {
#if defined(CF_VEC_AVX512)
  const vf magic = splat(12582912.0f), t = fma(x, splat(-16 * kLog2e), magic), n = t - magic;
  const vf r = fnma(n, splat(kLn2Lo / 16), fnma(n, splat(kLn2Hi / 16), -x));
  const vf power = scale_by((vf)_mm512_maskz_permutexvar_ps(kAll, (__m512i)t, (__m512)load(kSixteenths)), (vi)((vu)t >> 4));
  return fma(fma(fma(splat(0.166665778f), r, splat(0.5f)), r * r, r), power, power);
#else
  const ExpParts e = exp_parts(-x);
  return scale_by(e.em1 + splat(1.0f), e.n);
#endif
}

/// 1/(1 + e^-x): the clamp keeps 2^n a normal number, so that nothing needs a select; what it cuts off is 1 or below the smallest normal number.
CF_INLINE vf vsigmoid(vf x) { return recip_large(exp_minus(vmin(splat(87.4f), vmax(splat(-87.4f), x))) + splat(1.0f)); }

CF_INLINE vf vsoftplus(vf x) {
  const vf e = vexp(-vabs(x));
  const vf y = select(e < splat(1.0e-8f), e, log1p_inner(e));
  return vmax(vf{}, x) + y;
}

CF_INLINE vf vfloor(vf a) {
#if defined(CF_VEC_AVX512)
  return (vf)_mm512_maskz_roundscale_ps(kAll, (__m512)a, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
#elif defined(CF_VEC_AVX2)
  return (vf)_mm256_round_ps((__m256)a, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
#else
  const vi small = vabs(a) < splat(8388608.0f);  // larger floats have no fraction
  const vf t = to_float(to_int(select(small, a, vf{})));
  return select(small, t - select(t > a, splat(1.0f), vf{}), a);
#endif
}

}  // namespace cf::cpu::CF_ISA
