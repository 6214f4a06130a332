#include "cpu/ops/reduce.h"

#include <algorithm>
#include <cstring>

#include "cpu/team.h"

namespace cf::cpu {

constexpr uint64_t kStretch = 256;  ///< additions in float before they go to double
constexpr uint64_t kFew = 16;       ///< so few terms need no double at all

void Reduce::run(const Run& run) const {
  const float* in[kMaxMapInputs];
  for (uint32_t i = 0; i < inputs_; ++i) in[i] = run.f32(tensors_[i]);
  float* const out = run.f32(tensors_[inputs_]);
  double* const partials = reinterpret_cast<double*>(run.scratch());
  const auto scratch = [&](int slot) { return run.own_floats(static_cast<size_t>(slot)); };
  if (threads_ == 1 || run.beside_others()) {
    for (int t = 0; t < threads_; ++t) part(in, out, scratch(0), partials, t);
  } else {
    on_team(threads_, [&](int t) { part(in, out, scratch(t), partials, t); });
  }
  if (plan_ == Plan::rows) join_rows(out, partials);
  if (plan_ == Plan::columns) join_columns(out, partials);
}

const float* Reduce::values(const float* const* in, float* scratch, uint64_t row, uint64_t rows, uint64_t col, uint64_t cols, uint32_t* ready) const {
  float* const blocks = scratch + expr_floats_;
  const float* from[kMaxMapInputs];
  uint8_t broadcast[kMaxMapInputs];
  nest_.read_all(inputs_, in, row, rows, col, cols, blocks, ready, from, broadcast, copy_);
  if (plain_ && !broadcast[expr_.results[0].value]) return from[expr_.results[0].value];
  float* const to = blocks + inputs_ * kBlock;
  expr_run_(expr_, from, broadcast, &to, rows * cols, scratch);
  return to;
}

void Reduce::part(const float* const* in, float* out, float* scratch, double* partials, int t) const {
  if (plan_ == Plan::rows) return rows_part(in, out, scratch, partials + 4 * t, t);
  if (plan_ == Plan::columns) return columns_part(in, out, scratch, partials, t);
  tiles_part(in, out, scratch, t);
}

void Reduce::rows_part(const float* const* in, float* out, float* scratch, double* edge, int t) const {
  uint64_t begin, end;
  share(units(), t, threads_, &begin, &end);
  edge[0] = edge[2] = -1;
  uint32_t ready = 0;
  bool any = false;
  uint64_t current = 0;
  double total = r_.identity;
  const auto close = [&] {
    if (edge[0] < 0) edge[0] = static_cast<double>(current), edge[1] = total;
    else put(out, current, total);
  };
  const uint64_t per_row = (nest_.cols + width_ - 1) / width_;
  for (uint64_t u = begin; u < end; ++u) {
    const uint64_t row = per_row > 1 ? u / per_row : u * height_, rows = per_row > 1 ? 1 : std::min(height_, nest_.rows - row);
    const uint64_t col = u % per_row * width_, cols = std::min(width_, nest_.cols - col);
    const float* v = values(in, scratch, row, rows, col, cols, per_row > 1 ? nullptr : &ready);
    for (uint64_t r = 0; r < rows; ++r, v += cols) {
      const uint64_t kept = (row + r) / per_kept_;
      if (any && kept != current) close(), total = r_.identity;
      any = true, current = kept;
      total = r_.join(total, r_.row(v, cols));
    }
  }
  if (any) edge[2] = static_cast<double>(current), edge[3] = total;
}

void Reduce::join_rows(float* out, const double* partials) const {
  double current = -1, total = r_.identity;
  for (int i = 0; i < 2 * threads_; ++i) {
    const double index = partials[2 * i];
    if (index < 0) continue;
    if (current >= 0 && index != current) put(out, static_cast<uint64_t>(current), total), total = r_.identity;
    current = index;
    total = r_.join(total, partials[2 * i + 1]);
  }
  if (current >= 0) put(out, static_cast<uint64_t>(current), total);
}

void Reduce::put(float* out, uint64_t kept, double total) const {
  const uint64_t at = packed_ ? kept : nest_.offset(nest_.operands[inputs_], kept * per_kept_);
  out[at] = static_cast<float>(total * static_cast<double>(scale_));
}

void Reduce::columns_part(const float* const* in, float* out, float* scratch, double* partials, int t) const {
  const uint64_t c = nest_.cols, period = c * group_;
  uint64_t first = 0, last = outer(), begin = 0, end = per_kept_;
  if (split_outer()) {
    share(outer(), t, threads_, &first, &last);
  } else {
    share((per_kept_ + height_ - 1) / height_, t, threads_, &begin, &end);
    begin *= height_, end = std::min(end * height_, per_kept_);
  }
  float* const acc = scratch + thread_floats() - 3 * kBlock;
  double* const total = reinterpret_cast<double*>(acc + kBlock);
  for (uint64_t i = 0; i < period; ++i) acc[i] = static_cast<float>(r_.identity);
  uint32_t ready = 0;
  for (uint64_t o = first; o < last; ++o) {
    for (uint64_t i = 0; i < period; ++i) total[i] = r_.identity;
    uint64_t added = 0;
    for (uint64_t d = begin; d < end; d += height_) {
      const uint64_t rows = std::min(height_, end - d), whole = rows / group_;
      const float* v = values(in, scratch, o * per_kept_ + d, rows, 0, c, &ready);
      r_.fold(acc, v, period, whole);
      if (rows % group_) r_.fold(acc, v + whole * period, rows % group_ * c, 1);
      added += whole + 1;
      if (added >= kStretch) r_.flush(total, acc, period), added = 0;
    }
    r_.flush(total, acc, period);
    for (uint64_t g = 1; g < group_; ++g)
      for (uint64_t i = 0; i < c; ++i) total[i] = r_.join(total[i], total[g * c + i]);
    if (split_outer()) put_row(out, o, total);
    else std::memcpy(partials + (static_cast<uint64_t>(t) * outer() + o) * c, total, c * sizeof(double));
  }
}

void Reduce::join_columns(float* out, double* partials) const {
  if (split_outer()) return;
  const uint64_t c = nest_.cols;
  for (uint64_t o = 0; o < outer(); ++o) {
    double* const total = partials + o * c;
    for (int t = 1; t < threads_; ++t)
      for (uint64_t i = 0; i < c; ++i) total[i] = r_.join(total[i], partials[(static_cast<uint64_t>(t) * outer() + o) * c + i]);
    put_row(out, o, total);
  }
}

void Reduce::put_row(float* out, uint64_t o, const double* total) const {
  float* const to = out + nest_.offset(nest_.operands[inputs_], o * per_kept_);
  for (uint64_t i = 0; i < nest_.cols; ++i) to[places_[i]] = static_cast<float>(total[i] * static_cast<double>(scale_));
}

void Reduce::tiles_part(const float* const* in, float* out, float* scratch, int t) const {
  float* const acc = scratch + thread_floats() - 3 * kBlock;
  double* const total = reinterpret_cast<double*>(acc + kBlock);
  const Nest::Operand& operand = nest_.operands[inputs_];
  const uint64_t per_row = (nest_.cols + width_ - 1) / width_;
  uint64_t begin, end;
  share(units(), t, threads_, &begin, &end);
  for (uint64_t u = begin; u < end; ++u) {
    const uint64_t row = per_row > 1 ? u / per_row : u * height_, rows = per_row > 1 ? 1 : std::min(height_, nest_.rows - row);
    const uint64_t col = u % per_row * width_, cols = std::min(width_, nest_.cols - col), n = rows * cols;
    const bool few = per_kept_ <= kFew;
    for (uint64_t i = 0; i < n && !few; ++i) acc[i] = static_cast<float>(r_.identity), total[i] = r_.identity;
    std::array<uint64_t, kMaxRank> at{};
    const float* base[kMaxMapInputs];
    std::copy(in, in + inputs_, base);
    for (uint64_t d = 0; d < per_kept_; ++d) {
      const float* const v = values(base, scratch, row, rows, col, cols, nullptr);
      if (few && d == 0) std::memcpy(acc, v, n * sizeof(float));
      else r_.fold(acc, v, n, 1);
      if (!few && d % kStretch == kStretch - 1) r_.flush(total, acc, n);
      for (size_t k = reduced_.size(); k-- > 0;) {
        for (uint32_t i = 0; i < inputs_; ++i) base[i] += reduced_[k].strides[i];
        if (++at[k] < reduced_[k].dim) break;
        for (uint32_t i = 0; i < inputs_; ++i) base[i] -= reduced_[k].strides[i] * reduced_[k].dim;
        at[k] = 0;
      }
    }
    if (few) {
      for (uint64_t i = 0; i < n; ++i) acc[i] *= scale_;
    } else {
      r_.flush(total, acc, n);
      for (uint64_t i = 0; i < n; ++i) acc[i] = static_cast<float>(total[i] * static_cast<double>(scale_));
    }
    nest_.scatter(operand, out, row, rows, col, cols, acc, copy_);
  }
}

}  // namespace cf::cpu
