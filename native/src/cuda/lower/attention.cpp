// Softmax attention and its gradient.
#include "cuda/kernels/attention.h"

#include <cmath>
#include <cstddef>

#include "cuda/kernels/dropout.h"
#include "cuda/lower/dense.h"

namespace cf::cuda {
namespace {

constexpr uint32_t kMostHead = 64;
/// Of a head, that one thread keeps at most, for each of its rows.
constexpr uint32_t kMostChannels = 12;
/// Rows of a thread at most, and of the keys' pass, which keeps four vectors of each. (nvcc for sm_90, head of 24: 216 registers forward, 239 for queries, 162 for keys.)
constexpr uint32_t kMostRows = 4, kMostKeyRows = 2;
/// Of a block, with several rows a thread and with one.
constexpr uint32_t kThreadsOfSeveral = 64, kThreadsOfOne = 128;
/// For each multiprocessor there should be so many, before they take several rows.
constexpr uint64_t kThreadsEach = 96;

/// What forward and backward share: both have their heads and dropout in the same attributes.
struct Attention {
  AttentionArgs args{};
  uint64_t images, items;
  uint32_t head, words;
  float dropout;

  Attention(Lowering& l, const Operands& o) {
    const Tensor& kvq = o.input_of_rank(0, "kvq", 3);
    const uint64_t heads = o.attr(0), length = kvq.dims[1], wide = kvq.dims[2];
    dropout = o.attr_float(1);
    if (!(dropout >= 0.0f && dropout < 1.0f)) l.refuse("expected a dropout of at least 0 and below 1, found " + std::to_string(dropout));
    if (heads < 1 || wide % 3 || (wide / 3) % heads) l.refuse("expected 3 · heads · d channels, found " + std::to_string(wide) + " for " + std::to_string(heads) + " heads");
    if (static_cast<double>(heads * length) * static_cast<double>(length) >= 4294967296.0) l.refuse("too long: an image has more weights than there are draws");
    images = kvq.dims[0], items = images * heads;
    args.length = static_cast<uint32_t>(length), args.heads = static_cast<uint32_t>(heads), args.channels = static_cast<uint32_t>(wide / 3);
    args.words = words = static_cast<uint32_t>(ceil_div(length * length, 32));
    head = args.channels / args.heads;
    if (head > kMostHead) l.refuse("expected at most " + std::to_string(kMostHead) + " channels a head on this device, found " + std::to_string(head));
    args.scale = 1.0f / std::sqrt(static_cast<float>(head)), args.dropout_scale = 1.0f / (1.0f - dropout);
  }
  std::vector<size_t> like_out() const { return {images, args.length, args.channels}; }
  std::vector<size_t> like_lse() const { return {images, args.heads, args.length}; }
  std::vector<size_t> like_kept() const { return {images, args.heads, words}; }

  /// A row's channels are split between as many threads as kMostChannels asks for; a thread has as many rows as leave enough threads.
  Launch& launch(Lowering& l, const std::string& name, uint32_t most_rows = kMostRows) const {
    uint32_t split = 1, rows = most_rows;
    while (head > split * kMostChannels) split *= 2;
    const uint32_t apart = kThreadsOfSeveral / split;
    while (rows > 1 && (items * args.length * split < rows * kThreadsEach * l.target.multiprocessors || rows * apart > round_up(args.length, apart))) rows /= 2;
    const auto threads = rows > 1 ? kThreadsOfSeveral : static_cast<uint32_t>(std::min<uint64_t>(kThreadsOfOne, round_up(args.length * split, 32)));
    const auto define = [](const char* what, uint32_t value) { return std::string("#define ") + what + " " + std::to_string(value) + "\n"; };
    const std::string text = define("CF_D", head) + define("CF_SPLIT", split) + define("CF_ROWS", rows) + define("CF_THREADS", threads) +
                             (dropout > 0 ? "#define CF_DROPOUT 1\n" : "") + "#include \"cuda/kernels/" + name + ".h\"\n";
    return l.kernel(name, {text, true}, args, {static_cast<uint32_t>(items), static_cast<uint32_t>(ceil_div(args.length, rows * threads / split)), 1}, {threads, 1, 1});
  }
};

}  // namespace

void lower_attention(Lowering& l) {
  const bool drops = l.instr().inputs.size() == 2;
  const Operands o(l.program, l.instr(), drops ? 2 : 1, drops ? 3 : 2, 4);
  const Attention at(l, o);
  if (drops != (at.dropout > 0)) l.refuse(drops ? "a key without dropout" : "dropout needs a key");
  const Tensor &out = o.output(0, "out", at.like_out()), &lse = o.output(1, "lse", at.like_lse());
  const Operand kvq = source(l, l.input(0)), to = result(l, out), to_lse = result(l, lse);
  Operand kept{};
  if (drops) {
    const Operand key = source(l, o.input(1, "key", {4}, DType::u32));
    kept = result(l, o.output(2, "kept", at.like_kept(), DType::u32));
    const uint32_t level = o.attr(3);
    if (level > kMaxLoops) l.refuse("expected a loop level below " + std::to_string(kMaxLoops) + ", found " + std::to_string(level - 1));
    DropoutArgs args{};
    args.images = static_cast<uint32_t>(at.images), args.heads = at.args.heads, args.length = at.args.length, args.words = at.words;
    args.threshold = dropout_threshold(at.dropout);
    args.stream = o.attr(2);
    Launch& launch = l.kernel("attention_dropout", {"#define CF_DROPOUT_KERNEL 1\n#include \"cuda/kernels/dropout.h\"\n"}, args, {blocks(at.items * at.words), 1, 1}, {kBlock, 1, 1});
    reads(launch, offsetof(DropoutArgs, key), key);
    if (level > 0) launch.pointers.push_back({offsetof(DropoutArgs, loops), {Place::Kind::loops, 0, 4 * uint64_t{level - 1}}});
    writes(launch, offsetof(DropoutArgs, kept), kept);
  }
  Launch& launch = at.launch(l, "attention_forward");
  reads(launch, offsetof(AttentionArgs, kvq), kvq);
  if (drops) reads(launch, offsetof(AttentionArgs, kept), kept);
  writes(launch, offsetof(AttentionArgs, out), to), writes(launch, offsetof(AttentionArgs, lse), to_lse);
  l.finish_staged(out, to.place), l.finish_staged(lse, to_lse.place);
  if (drops) l.finish_staged(l.output(2), kept.place);
}

void lower_attention_grad(Lowering& l) {
  const bool drops = l.instr().inputs.size() == 5;
  const Operands o(l.program, l.instr(), drops ? 5 : 4, 1, 2);
  const Attention at(l, o);
  if (drops != (at.dropout > 0)) l.refuse(drops ? "kept bits without dropout" : "dropout needs the kept bits");
  o.input(1, "out", at.like_out()), o.input(2, "lse", at.like_lse()), o.input(3, "dout", at.like_out());
  if (drops) o.input(4, "kept", at.like_kept(), DType::u32);
  const Tensor& dkvq = o.output(0, "dkvq", Operands::dims_of(l.input(0)));
  const Operand kvq = source(l, l.input(0)), out = source(l, l.input(1)), lse = source(l, l.input(2)), dout = source(l, l.input(3));
  const Operand kept = drops ? source(l, l.input(4)) : Operand{}, to = result(l, dkvq), shares = temporary(l, 4 * at.items * at.args.length);
  // Each writes its thirds of the rows of dkvq.
  for (const bool queries : {true, false}) {
    Launch& launch = queries ? at.launch(l, "attention_queries_grad") : at.launch(l, "attention_keys_grad", kMostKeyRows);
    reads(launch, offsetof(AttentionArgs, kvq), kvq), reads(launch, offsetof(AttentionArgs, lse), lse), reads(launch, offsetof(AttentionArgs, dout), dout);
    if (drops) reads(launch, offsetof(AttentionArgs, kept), kept);
    if (queries) reads(launch, offsetof(AttentionArgs, out), out), writes(launch, offsetof(AttentionArgs, shares), shares);
    else reads(launch, offsetof(AttentionArgs, shares), shares);
    writes(launch, offsetof(AttentionArgs, dkvq), to);
  }
  l.finish_staged(dkvq, to.place);
}

}  // namespace cf::cuda
