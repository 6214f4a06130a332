#include "program/decode.h"

#include <algorithm>
#include <cstring>
#include <unordered_set>

#include "common/error.h"
#include "coopflow.h"
#include "program/op_table_hash.h"

namespace cf {
namespace {

constexpr uint32_t kHeaderWords = 16;
constexpr uint32_t kChecksumWord = 4;
constexpr uint64_t kSectionAlign = 64;
constexpr uint32_t kTensorWords = 20;
constexpr uint32_t kInstrWords = 6;
constexpr uint32_t kBufferWords = 8;

[[noreturn]] void bad(const std::string& message) { throw Error(Code::invalid_program, "decode", message); }

std::string str(uint64_t v) { return std::to_string(v); }

/// A bounded view of one section, read word by word.
class Reader {
 public:
  Reader(const uint8_t* begin, uint64_t bytes, const char* section) : p_(begin), left_(bytes), section_(section) {}

  uint32_t word() {
    need(4);
    uint32_t v = static_cast<uint32_t>(p_[0]) | static_cast<uint32_t>(p_[1]) << 8 | static_cast<uint32_t>(p_[2]) << 16 |
                 static_cast<uint32_t>(p_[3]) << 24;
    p_ += 4;
    left_ -= 4;
    return v;
  }
  uint64_t word2() {
    uint64_t low = word();
    return low | static_cast<uint64_t>(word()) << 32;
  }
  const uint8_t* bytes(uint64_t n) {
    need(n);
    const uint8_t* at = p_;
    p_ += n;
    left_ -= n;
    return at;
  }
  std::vector<uint32_t> words(uint64_t n) {
    if (n > left_ / 4) truncated(n * 4);
    std::vector<uint32_t> out(n);
    for (uint32_t& w : out) w = word();
    return out;
  }
  /// Refuses a count whose items, at least `item_bytes` each, cannot fit: nothing is allocated for a count that lies.
  void expect_items(uint64_t count, uint64_t item_bytes) {
    if (count > left_ / item_bytes) truncated(count * item_bytes);
  }
  uint64_t left() const { return left_; }

 private:
  void need(uint64_t n) {
    if (n > left_) truncated(n);
  }
  [[noreturn]] void truncated(uint64_t n) {
    bad("the " + std::string(section_) + " section is too short: expected " + str(n) + " more bytes, found " + str(left_));
  }
  const uint8_t* p_;
  uint64_t left_;
  const char* section_;
};

bool valid_utf8(const uint8_t* s, size_t n) {
  for (size_t i = 0; i < n;) {
    uint8_t c = s[i];
    size_t more = c < 0x80 ? 0 : (c >= 0xc2 && c <= 0xdf) ? 1 : (c >= 0xe0 && c <= 0xef) ? 2 : (c >= 0xf0 && c <= 0xf4) ? 3 : 9;
    if (more == 9 || i + more >= n + (more == 0)) return false;
    for (size_t k = 1; k <= more; ++k)
      if ((s[i + k] & 0xc0) != 0x80) return false;
    if ((c == 0xe0 && s[i + 1] < 0xa0) || (c == 0xed && s[i + 1] > 0x9f)) return false;
    if ((c == 0xf0 && s[i + 1] < 0x90) || (c == 0xf4 && s[i + 1] > 0x8f)) return false;
    i += more + 1;
  }
  return true;
}

DType dtype(uint32_t word, const char* what, uint64_t index) {
  if (word > static_cast<uint32_t>(DType::u32)) bad(std::string(what) + " " + str(index) + " has an unknown dtype " + str(word));
  return static_cast<DType>(word);
}

void read_names(Reader& in, uint32_t count, Program& p) {
  in.expect_items(count, 4);
  std::vector<uint32_t> lengths = in.words(count);
  p.names.reserve(count);
  uint64_t total = 0;
  for (uint32_t i = 0; i < count; ++i) {
    const uint8_t* s = in.bytes(lengths[i]);
    if (!valid_utf8(s, lengths[i])) bad("name " + str(i) + " is not valid UTF-8");
    if (std::memchr(s, 0, lengths[i])) bad("name " + str(i) + " contains a zero byte");
    p.names.emplace_back(reinterpret_cast<const char*>(s), lengths[i]);
    total += lengths[i];
  }
  in.bytes((4 - total % 4) % 4);
}

bool named(BufferKind k) { return k == BufferKind::state || k == BufferKind::feed || k == BufferKind::fetch; }

void read_buffers(Reader& in, uint32_t count, uint32_t constant_bytes, Program& p) {
  in.expect_items(count, kBufferWords * 4);
  p.buffers.reserve(count);
  std::unordered_set<std::string> seen;
  for (uint32_t i = 0; i < count; ++i) {
    Buffer b;
    const std::string who = "buffer " + str(i);
    uint32_t kind = in.word();
    if (kind > static_cast<uint32_t>(BufferKind::arena)) bad(who + " has an unknown kind " + str(kind));
    b.kind = static_cast<BufferKind>(kind);
    b.dtype = dtype(in.word(), "buffer", i);
    b.offset = in.word2();
    b.bytes = in.word2();
    uint32_t name = in.word(), rank = in.word();
    if (b.bytes == 0 || b.bytes % 4 || b.bytes > kMaxBytes) bad(who + " has a bad size: " + str(b.bytes) + " bytes");
    if (name > p.names.size()) bad(who + " has name " + str(name) + " of " + str(p.names.size()));
    if (rank > kMaxRank) bad(who + " has rank " + str(rank) + ", more than " + str(kMaxRank));
    b.shape = in.words(rank);
    if (name) b.name = p.names[name - 1];
    if (named(b.kind) || rank > 0) {
      unsigned __int128 elements = 1;
      for (uint32_t d : b.shape) {
        elements *= d;
        if (d == 0 || elements > kMaxBytes) bad(who + " has a bad shape: a dimension is 0, or all together are too large");
      }
      if (elements * 4 != b.bytes)
        bad(who + " (" + b.name + ") has " + str(b.bytes) + " bytes, but its shape takes " + str(static_cast<uint64_t>(elements * 4)));
    }
    if (named(b.kind)) {
      if (b.name.empty()) bad(who + " is state, feed or fetch and has no name");
      if (b.offset) bad(who + " (" + b.name + ") has offset " + str(b.offset) + ", expected 0");
      if (!seen.insert(std::to_string(kind) + b.name).second) bad(who + " repeats the name " + b.name);
    } else {
      uint64_t limit = b.kind == BufferKind::arena ? p.arena_bytes : constant_bytes;
      if (b.offset % kSectionAlign) bad(who + " has offset " + str(b.offset) + ", not a multiple of 64");
      if (b.bytes > limit || b.offset > limit - b.bytes)
        bad(who + " takes bytes " + str(b.offset) + " + " + str(b.bytes) + " of " + str(limit) + " in the " +
            (b.kind == BufferKind::arena ? "arena" : "constants"));
    }
    p.buffers.push_back(std::move(b));
  }
}

void read_tensors(Reader& in, uint32_t count, Program& p) {
  in.expect_items(count, kTensorWords * 4);
  p.tensors.reserve(count);
  for (uint32_t i = 0; i < count; ++i) {
    Tensor t;
    const std::string who = "tensor " + str(i);
    t.buffer = in.word();
    t.dtype = dtype(in.word(), "tensor", i);
    t.rank = in.word();
    t.offset = in.word2();
    for (uint32_t& v : t.dims) v = in.word();
    for (uint32_t& v : t.strides) v = in.word();
    for (uint32_t& v : t.loop_strides) v = in.word();
    if (t.buffer >= p.buffers.size()) bad(who + " names buffer " + str(t.buffer) + " of " + str(p.buffers.size()));
    if (t.dtype != p.buffers[t.buffer].dtype) bad(who + " has another dtype than its buffer " + str(t.buffer));
    if (t.rank > kMaxRank) bad(who + " has rank " + str(t.rank) + ", more than " + str(kMaxRank));
    unsigned __int128 elements = 1;
    for (uint32_t k = 0; k < t.rank; ++k) {
      elements *= t.dims[k];
      if (t.dims[k] == 0 || elements > kMaxBytes) bad(who + " has a bad shape: a dimension is 0, or all together are too large");
    }
    // Beyond the rank there is nothing to read; one form for all of them, so that code which loops over kMaxRank sees neutral values.
    for (uint32_t k = t.rank; k < kMaxRank; ++k) t.dims[k] = 1, t.strides[k] = 0;
    p.tensors.push_back(t);
  }
}

void read_code(Reader& in, uint32_t count, Program& p) {
  in.expect_items(count, kInstrWords * 4);
  p.instrs.reserve(count);
  for (uint32_t i = 0; i < count; ++i) {
    Instr instr;
    instr.op = static_cast<Op>(in.word());
    uint64_t words = in.word();
    instr.name = in.word();
    uint64_t inputs = in.word(), outputs = in.word(), attrs = in.word();
    if (words != kInstrWords + inputs + outputs + attrs)
      bad("instruction " + str(i) + " says it has " + str(words) + " words, but its parts take " + str(kInstrWords + inputs + outputs + attrs));
    instr.inputs = in.words(inputs);
    instr.outputs = in.words(outputs);
    instr.attrs = in.words(attrs);
    p.instrs.push_back(std::move(instr));
  }
  if (in.left()) bad("the code section has " + str(in.left()) + " bytes after its last instruction");
}

}  // namespace

uint32_t crc32(const uint8_t* bytes, size_t n, uint32_t before) noexcept {
  // Eight tables, eight bytes a step: a frozen sampler's constants are hundreds of megabytes.
  static const auto tables = [] {
    std::array<std::array<uint32_t, 256>, 8> t{};
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t c = i;
      for (int k = 0; k < 8; ++k) c = c & 1 ? 0xedb88320u ^ (c >> 1) : c >> 1;
      t[0][i] = c;
    }
    for (uint32_t i = 0; i < 256; ++i)
      for (size_t k = 1; k < 8; ++k) t[k][i] = (t[k - 1][i] >> 8) ^ t[0][t[k - 1][i] & 255];
    return t;
  }();
  uint32_t c = ~before;
  for (; n >= 8; n -= 8, bytes += 8) {
    uint32_t low = c ^ (bytes[0] | bytes[1] << 8 | bytes[2] << 16 | static_cast<uint32_t>(bytes[3]) << 24);
    c = tables[7][low & 255] ^ tables[6][low >> 8 & 255] ^ tables[5][low >> 16 & 255] ^ tables[4][low >> 24] ^ tables[3][bytes[4]] ^
        tables[2][bytes[5]] ^ tables[1][bytes[6]] ^ tables[0][bytes[7]];
  }
  for (; n; --n, ++bytes) c = tables[0][(c ^ *bytes) & 255] ^ (c >> 8);
  return ~c;
}

uint32_t program_checksum(const uint8_t* bytes, size_t n) noexcept {
  uint8_t header[kHeaderWords * 4];
  std::memcpy(header, bytes, sizeof header);
  std::memset(header + kChecksumWord * 4, 0, 4);
  return crc32(bytes + sizeof header, n - sizeof header, crc32(header, sizeof header));
}

Program decode(const uint8_t* bytes, size_t n) {
  if (n < kHeaderWords * 4) bad("a program has at least 64 bytes, found " + str(n));
  Reader header(bytes, kHeaderWords * 4, "header");
  uint32_t magic = header.word(), abi = header.word();
  uint64_t hash = header.word2();
  if (magic != kProgramMagic) bad("not a coopflow program: its first bytes are not COFP");
  if (abi != CF_ABI_VERSION || hash != kOpTableHash)
    throw Error(Code::version_mismatch, "decode",
                "the program was built for ABI version " + str(abi) + " and op table " + str(hash) + ", this library has " + str(CF_ABI_VERSION) +
                    " and " + str(kOpTableHash) + ": compile the model again with this version of coopflow (deno task export for a frozen sampler)");
  uint32_t crc = header.word();
  uint64_t total = header.word2();
  uint32_t names = header.word(), buffers = header.word(), tensors = header.word(), instrs = header.word(), code_words = header.word();
  Program p;
  p.commit = header.word();
  p.arena_bytes = header.word2();
  uint32_t constant_bytes = header.word();
  if (total != n) bad("the program says it has " + str(total) + " bytes, found " + str(n));
  if (p.arena_bytes > kMaxBytes) bad("the arena has " + str(p.arena_bytes) + " bytes, more than " + str(kMaxBytes));
  uint32_t found = program_checksum(bytes, n);
  if (crc != found) bad("wrong checksum: expected " + str(crc) + ", found " + str(found) + ": the file is damaged");

  uint64_t at = kHeaderWords * 4;
  const auto pad = [&](uint64_t end) {
    at = (end + kSectionAlign - 1) / kSectionAlign * kSectionAlign;
    if (at > n) bad("the program ends inside a section");
  };
  // The lengths of the first two sections follow from their contents: read them against the end of the file.
  Reader in(bytes + at, n - at, "names");
  read_names(in, names, p);
  pad(n - in.left());
  in = Reader(bytes + at, n - at, "buffers");
  read_buffers(in, buffers, constant_bytes, p);
  pad(n - in.left());
  in = Reader(bytes + at, n - at, "tensors");
  read_tensors(in, tensors, p);
  pad(n - in.left());
  if (code_words > (n - at) / 4) bad("the program has " + str(code_words) + " words of code, more than it is long");
  in = Reader(bytes + at, uint64_t{code_words} * 4, "code");
  read_code(in, instrs, p);
  pad(at + uint64_t{code_words} * 4);
  in = Reader(bytes + at, n - at, "constants");
  const uint8_t* constants = in.bytes(constant_bytes);
  p.constants.assign(constants, constants + constant_bytes);
  pad(at + constant_bytes);
  if (at != n) bad("the program has " + str(n - at) + " bytes after its last section");
  validate(p);
  return p;
}

}  // namespace cf
