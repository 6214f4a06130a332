// Which instructions run at the same time and in what order, and that this changes no bit.
#include "cpu/turns.h"

#include <algorithm>
#include <functional>
#include <random>

#include "check.h"
#include "coopflow.h"
#include "program_builder.h"

using namespace cf;
using namespace cf::cpu;
using namespace cf::test;

namespace {

constexpr uint32_t kWindow = 4096;  ///< long enough for two threads to be at work at the same time
constexpr Price kSmall{2000, true}, kBig{};

/// Maps on windows of kWindow floats: tensors are (buffer, window), windows that loops move are (buffer, window, windows per iteration).
struct Windows {
  Windows() {
    b.name("windows");
    state = b.buffer(BufferKind::state, "s", {32 * kWindow});
    arena = b.buffer(BufferKind::arena, "", {32 * kWindow});
    // Its first half is the second half of the one before.
    shared = b.buffer(BufferKind::arena, "", {32 * kWindow});
    b.program.buffers[shared].offset = 16 * kWindow * 4;
  }
  uint32_t at(uint32_t buffer, uint32_t window, uint32_t step = 0) { return b.tensor(buffer, {kWindow}, {1}, window * kWindow, {step * kWindow, 0, 0}); }
  void add(uint32_t x, uint32_t y, Price price = kSmall) {
    b.add(Op::map, {x, x}, {y}, expression(ExprOp::add, 0, 1, 2));
    prices.push_back(price);
  }
  void repeat(uint32_t count, uint32_t body) {
    b.add(Op::repeat, {}, {}, {count, 0, body, 0});
    prices.push_back({});
  }
  std::vector<Turn> plan(int threads = 2) const {
    Program p = b.program;
    if (p.commit == 0) p.commit = static_cast<uint32_t>(p.instrs.size());
    return plan_turns(p, prices, threads);
  }

  ProgramBuilder b;
  std::vector<Price> prices;
  uint32_t state, arena, shared;
};

std::vector<uint32_t> order(const std::vector<Turn>& turns) {
  std::vector<uint32_t> out;
  for (const Turn& t : turns) out.push_back(t.instr);
  return out;
}
using List = std::vector<uint32_t>;

void independent() {
  Windows w;
  for (uint32_t i = 0; i < 4; ++i) w.add(w.at(w.state, i), w.at(w.arena, i));
  const std::vector<Turn> turns = w.plan();
  CHECK(order(turns) == (List{0, 1, 2, 3}) && turns[0].end == 4);
  for (const Turn& t : turns) CHECK(t.after.empty());
  CHECK(w.plan(1)[0].end == 1);
  // Too little to wake anybody for.
  for (Price& p : w.prices) p.ns = 300;
  CHECK(w.plan()[0].end == 1);
}

/// Two that depend on each other by `first` and `second`, among others enough for a region: which turns the second waits for.
List waits(Windows& w, const std::function<void()>& first, const std::function<void()>& second) {
  first();
  second();
  for (uint32_t i = 0; i < 4; ++i) w.add(w.at(w.state, 20 + i), w.at(w.state, 26 + i));
  const std::vector<Turn> turns = w.plan();
  CHECK(turns[0].end == 6 && order(turns) == (List{0, 1, 2, 3, 4, 5}));
  return turns[1].after;
}

void dependencies() {
  const List none, one{0};
  {
    Windows w;  // write, read
    CHECK(waits(w, [&] { w.add(w.at(w.state, 0), w.at(w.arena, 0)); }, [&] { w.add(w.at(w.arena, 0), w.at(w.arena, 1)); }) == one);
  }
  {
    Windows w;  // read, write
    CHECK(waits(w, [&] { w.add(w.at(w.arena, 0), w.at(w.arena, 1)); }, [&] { w.add(w.at(w.state, 0), w.at(w.arena, 0)); }) == one);
  }
  {
    Windows w;  // write, write
    CHECK(waits(w, [&] { w.add(w.at(w.state, 0), w.at(w.arena, 0)); }, [&] { w.add(w.at(w.state, 1), w.at(w.arena, 0)); }) == one);
  }
  {
    Windows w;  // read, read
    CHECK(waits(w, [&] { w.add(w.at(w.arena, 0), w.at(w.arena, 1)); }, [&] { w.add(w.at(w.arena, 0), w.at(w.arena, 2)); }) == none);
  }
  {
    Windows w;  // window 16 of one buffer is window 0 of another
    CHECK(waits(w, [&] { w.add(w.at(w.state, 0), w.at(w.arena, 16)); }, [&] { w.add(w.at(w.shared, 0), w.at(w.arena, 1)); }) == one);
  }
  {
    Windows w;
    CHECK(waits(w, [&] { w.add(w.at(w.state, 0), w.at(w.arena, 17)); }, [&] { w.add(w.at(w.shared, 0), w.at(w.arena, 1)); }) == none);
  }
}

void loops() {
  for (const bool met : {false, true}) {
    Windows w;
    w.repeat(3, 6);
    // Reads 4, 3 … where nothing moves: of three iterations the third writes window 0 + 2 · 2.
    w.add(w.at(w.state, 0), w.at(w.arena, 0, 2));
    w.add(w.at(w.arena, met ? 4 : 5), w.at(w.arena, 8));
    for (uint32_t i = 0; i < 4; ++i) w.add(w.at(w.state, 20 + i), w.at(w.state, 26 + i));
    for (uint32_t i = 0; i < 4; ++i) w.add(w.at(w.state, 20 + i), w.at(w.state, 26 + i));
    const std::vector<Turn> turns = w.plan();
    CHECK(turns[1].end == 7 && turns[7].end == 11);  // the body's end is a region's end
    CHECK(turns[2].after == (met ? List{1} : List{}));
  }
  Windows w;  // both move alike: never the same window in one iteration
  w.repeat(3, 6);
  w.add(w.at(w.state, 0), w.at(w.arena, 0, 1));
  w.add(w.at(w.arena, 1, 1), w.at(w.arena, 8));
  for (uint32_t i = 0; i < 4; ++i) w.add(w.at(w.state, 20 + i), w.at(w.state, 26 + i));
  CHECK(w.plan()[2].after.empty());
}

void putting_off() {
  Windows w;
  w.add(w.at(w.state, 0), w.at(w.arena, 0));        // 0: needed by 3
  w.add(w.at(w.state, 1), w.at(w.arena, 1), kBig);  // 1: needs nothing
  w.add(w.at(w.state, 2), w.at(w.arena, 2));        // 2: needed by 5
  w.add(w.at(w.arena, 0), w.at(w.arena, 3), kBig);  // 3
  w.add(w.at(w.arena, 2), w.at(w.arena, 4));        // 4
  w.add(w.at(w.arena, 4), w.at(w.arena, 5), kBig);  // 5
  w.b.commit_here();
  for (uint32_t i = 0; i < 3; ++i) w.add(w.at(w.state, 8 + i), w.at(w.state, 12 + i));
  // 0 and 2 are worth a region; 4 alone is not.
  for (Price& p : w.prices) p.ns *= 2;
  std::vector<Turn> turns = w.plan();
  CHECK(order(turns) == (List{1, 0, 2, 3, 4, 5, 6, 7, 8}) && turns[1].end == 3 && turns[4].end == 5 && turns[6].end == 9);
  // Where they are not, who isn't needed waits on.
  for (Price& p : w.prices) p.ns /= 8;
  turns = w.plan();
  CHECK(order(turns) == (List{1, 0, 3, 2, 4, 5, 6, 7, 8}) && turns[1].end == 2);
}

/// Hundreds of small maps on windows taken at random, many of them in a loop: one by one (as while profiled) and as planned.
void same_bits() {
  for (const int32_t threads : {1, 2, 3}) {
    for (uint32_t seed = 0; seed < 20; ++seed) {
      std::mt19937 random(seed);
      Windows w;
      const uint32_t out = w.b.buffer(BufferKind::fetch, "out", {32 * kWindow});
      const uint32_t written[] = {w.arena, w.shared, out};
      const auto pick = [&](bool in_loop, bool write) {
        const uint32_t n = random() % (write ? 3 : 4), buffer = n < 3 ? written[n] : w.state;
        return in_loop ? w.at(buffer, random() % 16, random() % 5) : w.at(buffer, random() % 32);
      };
      const auto some = [&](uint32_t n, bool in_loop) {
        for (uint32_t i = 0; i < n; ++i) {
          const uint32_t x = pick(in_loop, false), y = pick(in_loop, false), z = pick(in_loop, true);
          w.b.add(Op::map, {x, y}, {z}, expression(random() % 2 ? ExprOp::sub : ExprOp::add, 0, 1, 2));
        }
      };
      // What memory holds before must not show.
      for (const uint32_t buffer : written)
        for (uint32_t i = 0; i < 32; ++i) w.b.add(Op::map, {w.at(w.state, (i * 7 + buffer) % 32)}, {w.at(buffer, i)}, {0, 0, 0});
      some(100, false);
      w.b.add(Op::repeat, {}, {}, {4, 0, 60, seed % 2});
      some(60, true);
      some(100, false);
      for (const uint32_t buffer : {w.arena, w.shared})
        for (uint32_t i = 0; i < 32; ++i) w.b.add(Op::map, {w.at(out, i), w.at(buffer, i)}, {w.at(out, i)}, expression(ExprOp::add, 0, 1, 2));
      std::vector<float> s(32 * kWindow), apart(s.size()), planned(s.size());
      for (size_t i = 0; i < s.size(); ++i) s[i] = static_cast<float>(random() % 1000) * 1e-3f - 0.5f;
      cf_context ctx = 0;
      cf_error e{};
      CHECK(cf_context_create("cpu", threads, CF_ISA_BEST, 0, &ctx, &e) == CF_OK);
      const std::vector<uint8_t> bytes = w.b.bytes();
      cf_program p = 0;
      if (!CHECK(cf_program_load(ctx, bytes.data(), bytes.size(), CF_CREATE_MISSING_STATE, &p, &e) == CF_OK)) std::printf("%s\n", e.message);
      const uint32_t shape[1] = {32 * kWindow};
      for (const bool profiled : {true, false}) {
        CHECK(cf_program_profile(p, profiled, &e) == CF_OK && cf_state_set(ctx, "s", CF_F32, shape, 1, s.data(), s.size() * 4, &e) == CF_OK);
        CHECK(cf_program_run(p, &e) == CF_OK && cf_program_fetch(p, 0, (profiled ? apart : planned).data(), s.size() * 4, &e) == CF_OK);
        uint64_t progress[4];
        CHECK(cf_context_progress(ctx, progress, &e) == CF_OK && progress[1] == progress[2]);
      }
      CHECK(std::memcmp(apart.data(), planned.data(), s.size() * 4) == 0);
      CHECK(cf_context_destroy(ctx, &e) == CF_OK);
    }
  }
}

}  // namespace

int main() {
  independent();
  dependencies();
  loops();
  putting_off();
  same_bits();
  return check::finish("test_turns");
}
