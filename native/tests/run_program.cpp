// run_program FILE [--feed name=file.bin]… [--state name=file.bin]… [--seed n] [--threads n] [--isa avx512|avx2|portable] [--device name] [--precision tf32|bf16] [--runs n] [--profile]
// Loads a program, fills state and feeds (from files of raw words, else with small numbers that depend on the seed alone), runs it, and prints
// what each fetch holds. Made for sanitizers and profilers: nothing but this library and the program.
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "common/error.h"
#include "coopflow.h"
#include "program/decode.h"

namespace {

[[noreturn]] void stop(const std::string& message) {
  std::fprintf(stderr, "run_program: %s\n", message.c_str());
  std::exit(1);
}

void ok(int32_t status, const cf_error& e) {
  if (status != CF_OK) stop(std::string(e.op) + ": " + e.message);
}

std::vector<uint8_t> read(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) stop("cannot read " + path);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

struct Options {
  std::string file, device = "cpu";
  std::map<std::string, std::string> feeds, states;
  uint32_t seed = 0, flags = 0;
  int threads = 0, runs = 1, isa = CF_ISA_BEST;
  bool profile = false;
};

Options parse(int argc, char** argv) {
  Options o;
  for (int i = 1; i < argc; ++i) {
    const std::string a = argv[i];
    if (a == "--profile") {
      o.profile = true;
      continue;
    }
    if (a.rfind("--", 0) != 0) {
      o.file = a;
      continue;
    }
    if (++i == argc) stop(a + " needs a value");
    const std::string v = argv[i];
    if (a == "--feed" || a == "--state") {
      const size_t at = v.find('=');
      if (at == std::string::npos) stop("expected " + a + " name=file, found " + v);
      (a == "--feed" ? o.feeds : o.states)[v.substr(0, at)] = v.substr(at + 1);
    } else if (a == "--seed") {
      o.seed = static_cast<uint32_t>(std::atoi(argv[i]));
    } else if (a == "--threads") {
      o.threads = std::atoi(argv[i]);
    } else if (a == "--runs") {
      o.runs = std::atoi(argv[i]);
    } else if (a == "--device") {
      o.device = v;
    } else if (a == "--precision") {
      if (v != "tf32" && v != "bf16") stop("expected --precision tf32 or bf16, found " + v);
      o.flags = v == "bf16" ? CF_BF16 : CF_TF32;
    } else if (a == "--isa") {
      o.isa = v == "avx512" ? CF_ISA_AVX512 : v == "avx2" ? CF_ISA_AVX2 : v == "portable" ? CF_ISA_PORTABLE : 99;
    } else {
      stop("unknown option " + a);
    }
  }
  if (o.file.empty()) stop("usage: run_program FILE [--feed name=file]… [--state name=file]… [--seed n] [--threads n] [--isa name] [--device name] [--precision tf32|bf16] [--runs n] [--profile]");
  return o;
}

/// From the file, or small values around zero; integers become small, too (seeds, counters).
std::vector<uint8_t> contents(const cf::Buffer& b, const std::map<std::string, std::string>& files, uint32_t seed) {
  const auto found = files.find(b.name);
  if (found != files.end()) {
    std::vector<uint8_t> data = read(found->second);
    if (data.size() != b.bytes) stop(found->second + ": expected " + std::to_string(b.bytes) + " bytes for " + b.name + ", found " + std::to_string(data.size()));
    return data;
  }
  std::vector<uint8_t> data(b.bytes);
  uint32_t mix = seed;
  for (const char c : b.name) mix = mix * 31 + static_cast<uint8_t>(c);
  std::mt19937 random(mix);
  for (uint64_t i = 0; i < b.bytes / 4; ++i) {
    const uint32_t r = random();
    const float f = (static_cast<float>(r >> 8) / 16777216.0f - 0.5f) * 0.2f;
    const uint32_t u = r % 4;
    std::memcpy(data.data() + 4 * i, b.dtype == cf::DType::f32 ? static_cast<const void*>(&f) : &u, 4);
  }
  return data;
}

void print(const cf::Buffer& b, const std::vector<uint8_t>& data) {
  double sum = 0, low = INFINITY, high = -INFINITY;
  const uint64_t n = b.bytes / 4;
  long odd = 0;
  for (uint64_t i = 0; i < n; ++i) {
    float f;
    uint32_t u;
    std::memcpy(&f, data.data() + 4 * i, 4), std::memcpy(&u, data.data() + 4 * i, 4);
    const double v = b.dtype == cf::DType::f32 ? static_cast<double>(f) : u;
    if (!std::isfinite(v)) ++odd;
    sum += v, low = std::fmin(low, v), high = std::fmax(high, v);
  }
  std::string shape;
  for (uint32_t d : b.shape) shape += (shape.empty() ? "" : " ") + std::to_string(d);
  std::printf("%-40s [%s] mean %.9g min %.9g max %.9g%s\n", b.name.c_str(), shape.c_str(), sum / static_cast<double>(n), low, high,
              odd ? (" (" + std::to_string(odd) + " not finite)").c_str() : "");
}

}  // namespace

int main(int argc, char** argv) {
  const Options o = parse(argc, argv);
  const std::vector<uint8_t> bytes = read(o.file);
  cf::Program program;
  try {
    program = cf::decode(bytes.data(), bytes.size());
  } catch (const cf::Error& e) {
    stop(e.op() + ": " + e.what());
  }
  cf_error e{};
  cf_context ctx = 0;
  cf_program p = 0;
  ok(cf_context_create(o.device.c_str(), o.threads, o.isa, o.flags, &ctx, &e), e);
  for (const cf::Buffer& b : program.buffers) {
    if (b.kind != cf::BufferKind::state) continue;
    const std::vector<uint8_t> data = contents(b, o.states, o.seed);
    ok(cf_state_set(ctx, b.name.c_str(), static_cast<uint32_t>(b.dtype), b.shape.data(), static_cast<uint32_t>(b.shape.size()), data.data(), data.size(), &e), e);
  }
  ok(cf_program_load(ctx, bytes.data(), bytes.size(), 0, &p, &e), e);
  uint32_t index = 0;
  for (const cf::Buffer& b : program.buffers) {
    if (b.kind != cf::BufferKind::feed) continue;
    const std::vector<uint8_t> data = contents(b, o.feeds, o.seed);
    ok(cf_program_feed(p, index++, data.data(), data.size(), &e), e);
  }
  ok(cf_program_profile(p, o.profile, &e), e);
  for (int i = 0; i < o.runs; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    ok(cf_program_run(p, &e), e);
    std::printf("run %d: %.3f ms\n", i, std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count());
  }
  index = 0;
  for (const cf::Buffer& b : program.buffers) {
    if (b.kind != cf::BufferKind::fetch) continue;
    std::vector<uint8_t> data(b.bytes);
    ok(cf_program_fetch(p, index++, data.data(), data.size(), &e), e);
    print(b, data);
  }
  if (o.profile) {
    uint64_t needed = 0;
    ok(cf_program_profile_report(p, nullptr, 0, &needed, &e), e);
    std::vector<char> text(needed);
    ok(cf_program_profile_report(p, text.data(), needed, nullptr, &e), e);
    std::printf("%s\n", text.data());
  }
  ok(cf_context_destroy(ctx, &e), e);
  return 0;
}
