#include "cpu/ops/epilogue.h"

#include <algorithm>

#include "program/checks.h"

namespace cf::cpu {
namespace {

constexpr size_t kChunk = 1024;  // floats per operand and call: a few expression tiles, so that the calls do not show

}  // namespace

Epilogue::Epilogue(const Program& program, const Instr& instr, size_t own_inputs, size_t own_attrs, const std::vector<size_t>& dims, const Device& device,
                   uint32_t pooled)
    : pooled_(pooled) {
  grid_ = dims.size() == 4 ? Grid{dims[0], dims[1], dims[2], dims[3]} : Grid{dims[0], 1, dims[1], dims[2]};
  active_ = check_epilogue(program, instr, own_inputs, own_attrs, dims, pooled);
  for (const uint32_t id : instr.outputs) outputs_.push_back(operand(program.tensors[id]));
  const auto rows_follow = [&](const Operand& o) { return grid_.rows == 1 || o.stride[1] == grid_.pixels * o.stride[2]; };
  const auto images_follow = [&](const Operand& o) { return grid_.images == 1 || o.stride[0] == grid_.rows * grid_.pixels * o.stride[2]; };
  uniform_ = rows_follow(outputs_[0]) && images_follow(outputs_[0]);
  copy_ = CF_PICK(device.isa, copy_2d);
  if (!active_) return;
  for (size_t i = own_inputs; i < instr.inputs.size(); ++i) inputs_.push_back(operand(program.tensors[instr.inputs[i]]));
  const auto every = [&](auto&& holds) { return std::all_of(inputs_.begin(), inputs_.end(), holds) && std::all_of(outputs_.begin(), outputs_.end(), holds); };
  rows_merge_ = pooled == 0 && every(rows_follow);
  images_merge_ = rows_merge_ && every(images_follow);
  const size_t further = inputs_.size();
  expr_ = parse_expr(instr.attrs.data() + own_attrs, instr.attrs.size() - own_attrs, static_cast<uint32_t>(further + 1), static_cast<uint32_t>(outputs_.size()),
                     "epilogue");
  run_ = CF_PICK(device.isa, expr_run);
  pool_ = CF_PICK(device.isa, pool_pairs);
  scratch_floats_ = (further + 1 + outputs_.size()) * kChunk + expr_scratch_floats(expr_);
}

Epilogue::Operand Epilogue::operand(const Tensor& t) {
  Operand o{t, {}};
  // A dimension of size 1 may have any stride; giving it the dense one lets the fast paths see it as such.
  const auto stride = [&](uint32_t k, size_t dense) { return t.dims[k] == 1 ? dense : size_t{t.strides[k]}; };
  const uint32_t last = t.rank - 1;
  const size_t channel = stride(last, 1);
  // One pixel a row: its stride is the next outer one, so that a window of a wider tensor still looks like one.
  const size_t lone = t.rank == 4 && t.dims[1] != 1 ? t.strides[1] : t.rank == 4 && t.dims[0] != 1 ? t.strides[0] : t.dims[last];
  const size_t pixel = stride(last - 1, lone);
  const size_t row = t.rank == 4 ? stride(1, t.dims[2] * pixel) : 0;
  o.stride = {stride(0, t.rank == 4 ? t.dims[1] * row : t.dims[1] * pixel), row, pixel, channel};
  return o;
}

Epilogue::Bound Epilogue::bind(const Run& run) const {
  Bound b{};
  for (size_t i = 0; i < inputs_.size(); ++i) b.in[i] = run.f32(inputs_[i].tensor);
  for (size_t i = 0; i < outputs_.size(); ++i) b.out[i] = run.f32(outputs_[i].tensor);
  return b;
}

void Epilogue::apply(const Bound& bound, size_t image, size_t row, size_t pixel, size_t count, size_t channel, size_t channels, const float* raw,
                     size_t raw_pixel, float* scratch) const {
  const auto at = [&](const Operand& o, size_t p, size_t c) { return image * o.stride[0] + row * o.stride[1] + p * o.stride[2] + c * o.stride[3]; };
  if (!active_) {
    const Operand& o = outputs_[0];
    float* to = bound.out[0] + at(o, pixel, channel);
    copy_(raw, raw_pixel, 1, to, o.stride[2], 1, count, channels);
    return;
  }
  // With pooled outputs a chunk holds whole pairs of pixels.
  const size_t width = std::min(channels, pooled_ ? kChunk / 2 : kChunk), pixels = kChunk / width, height = pooled_ ? pixels & ~size_t{1} : pixels;
  float* expr_scratch = scratch + (inputs_.size() + 1 + outputs_.size()) * kChunk;
  const float* in[kMaxInputs];
  uint8_t broadcast[kMaxInputs];
  float* out[kMaxOutputs];
  for (size_t p = 0; p < count; p += height) {
    const size_t rows = std::min(height, count - p);
    for (size_t c = 0; c < channels; c += width) {
      const size_t n = std::min(width, channels - c);
      float* spare = scratch;
      // Contiguous operands are read where they lie; the others are gathered into (or repeated in) a chunk of scratch.
      const auto source = [&](size_t i, const float* from, size_t step, size_t unit) {
        broadcast[i] = unit == 0 && (step == 0 || rows == 1);
        if (broadcast[i] || (unit == 1 && (step == n || rows == 1))) {
          in[i] = from;
        } else {
          copy_(from, step, unit, spare, n, 1, rows, n);
          in[i] = spare;
          spare += kChunk;
        }
      };
      source(0, raw + p * raw_pixel + c, raw_pixel, 1);
      for (size_t i = 0; i < inputs_.size(); ++i) source(i + 1, bound.in[i] + at(inputs_[i], pixel + p, channel + c), inputs_[i].stride[2], inputs_[i].stride[3]);
      for (size_t j = 0; j < outputs_.size(); ++j) {
        out[j] = bound.out[j] + at(outputs_[j], pixel + p, channel + c);
        if (is_pooled(j) || (outputs_[j].stride[2] != n && rows > 1)) {
          out[j] = spare;
          spare += kChunk;
        }
      }
      run_(expr_, in, broadcast, out, rows * n, expr_scratch);
      for (size_t j = 0; j < outputs_.size(); ++j) {
        const Operand& o = outputs_[j];
        if (is_pooled(j))
          pool_(out[j], rows / 2, n, bound.out[j] + image * o.stride[0] + row / 2 * o.stride[1] + (pixel + p) / 2 * o.stride[2] + channel + c, o.stride[2],
                row % 2 == 1);
        else if (o.stride[2] != n && rows > 1)
          copy_(out[j], n, 1, bound.out[j] + at(o, pixel + p, channel + c), o.stride[2], 1, rows, n);
      }
    }
  }
}

void Epilogue::apply_rows(const Bound& bound, size_t image, size_t row, size_t rows, size_t pixel, size_t count, size_t channel, size_t channels,
                          const float* raw, size_t raw_pixel, size_t raw_row, float* scratch) const {
  if (rows_merge_ && count == grid_.pixels && raw_row == count * raw_pixel)
    return apply(bound, image, row, pixel, rows * count, channel, channels, raw, raw_pixel, scratch);
  for (size_t i = 0; i < rows; ++i) apply(bound, image, row + i, pixel, count, channel, channels, raw + i * raw_row, raw_pixel, scratch);
}

void Epilogue::apply_flat(const Bound& bound, size_t begin, size_t end, const float* raw, size_t raw_pixel, float* scratch) const {
  const size_t rows = rows_merge_ ? grid_.rows : 1, run = images_merge_ ? grid_.all_pixels() : rows * grid_.pixels;
  while (begin < end) {
    const size_t row = begin / run * rows, pixel = begin % run, count = std::min(end - begin, run - pixel);
    apply(bound, row / grid_.rows, row % grid_.rows, pixel, count, 0, grid_.channels, raw, raw_pixel, scratch);
    raw += count * raw_pixel;
    begin += count;
  }
}

}  // namespace cf::cpu
