// Contexts, state, programs and cancellation, through the C ABI as another runtime sees it.
#include <atomic>
#include <chrono>
#include <thread>

#include "check.h"
#include "coopflow.h"
#include "program_builder.h"

using namespace cf;
using namespace cf::test;

namespace {

struct Text {
  template <class F>
  explicit Text(F&& f) {
    uint64_t needed = 0;
    CHECK(f(static_cast<char*>(nullptr), uint64_t{0}, &needed) == CF_OK);
    std::vector<char> buffer(needed);
    CHECK(f(buffer.data(), needed, &needed) == CF_OK);
    text = buffer.data();
    CHECK(text.size() + 1 == needed);
  }
  bool has(const std::string& part) const {
    if (text.find(part) != std::string::npos) return true;
    std::printf("expected %s in %s\n", part.c_str(), text.c_str());
    return false;
  }
  std::string text;
};

bool said(const cf_error& e, int32_t code, const std::string& part) {
  const bool ok = e.code == code && std::string(e.message).find(part) != std::string::npos;
  if (!ok) std::printf("expected code %d and \"%s\", found %d from %s: %s\n", code, part.c_str(), e.code, e.op, e.message);
  return ok;
}

cf_context open(int32_t threads = 2) {
  cf_context ctx = 0;
  cf_error e{};
  CHECK(cf_context_create("cpu", threads, CF_ISA_BEST, 0, &ctx, &e) == CF_OK && ctx != 0);
  return ctx;
}

cf_program load(cf_context ctx, const ProgramBuilder& b, uint32_t flags = CF_CREATE_MISSING_STATE) {
  const std::vector<uint8_t> bytes = b.bytes();
  cf_program p = 0;
  cf_error e{};
  if (!CHECK(cf_program_load(ctx, bytes.data(), bytes.size(), flags, &p, &e) == CF_OK)) std::printf("%s: %s\n", e.op, e.message);
  return p;
}

/// y[t] = x[t] + w for t < 3, in a loop; then w ← w · 2 in the commit.
ProgramBuilder stepper() {
  ProgramBuilder b;
  b.name("step");
  const uint32_t x = b.buffer(BufferKind::feed, "x", {3, 8}), w = b.buffer(BufferKind::state, "w", {8}), y = b.buffer(BufferKind::fetch, "y", {3, 8}),
                 two = b.constant({2});
  const uint32_t row = b.tensor(x, {8}, {1}, 0, {8, 0, 0}), weight = b.tensor(w, {8}, {1}), result = b.tensor(y, {8}, {1}, 0, {8, 0, 0}),
                 factor = b.tensor(two, {8}, {0});
  b.add(Op::repeat, {}, {}, {3, 0, 1, 0});
  b.add(Op::map, {row, weight}, {result}, expression(ExprOp::add, 0, 1, 2));
  b.commit_here();
  b.add(Op::map, {weight, factor}, {weight}, expression(ExprOp::mul, 0, 1, 2));
  return b;
}

/// Runs for hours, then w ← −w.
ProgramBuilder endless() {
  ProgramBuilder b;
  b.name("chain");
  const uint32_t w = b.buffer(BufferKind::state, "w", {8}), x = b.buffer(BufferKind::feed, "x", {4}), tmp = b.buffer(BufferKind::arena, "", {4096});
  const uint32_t weight = b.tensor(w, {8}, {1}), t = b.tensor(tmp, {4096}, {1}), first = b.tensor(x, {4096}, {0});
  b.add(Op::repeat, {}, {}, {1u << 30, 0, 2, 0});
  b.add(Op::repeat, {}, {}, {1u << 10, 1, 1, 0});
  b.add(Op::map, {first}, {t}, expression(ExprOp::exp, 0, 0, 1));
  b.commit_here();
  b.add(Op::map, {weight}, {weight}, expression(ExprOp::neg, 0, 0, 1));
  return b;
}

void versions() {
  CHECK(cf_abi_version() == CF_ABI_VERSION);
  const Text info([](char* out, uint64_t len, uint64_t* needed) { return cf_build_info(out, len, needed, nullptr); });
  CHECK(info.has("\"abi\":1,") && info.has("\"portable\"") && info.has("\"onednn\":\""));
  char small[8];
  cf_error e{};
  CHECK(cf_build_info(small, sizeof small, nullptr, &e) == CF_INVALID_ARGUMENT && said(e, CF_INVALID_ARGUMENT, "the buffer has 8 bytes"));
}

void contexts() {
  cf_context ctx = 7;
  cf_error e{};
  CHECK(cf_context_create("tpu", 0, -1, 0, &ctx, &e) == CF_INVALID_ARGUMENT && ctx == 0 && said(e, CF_INVALID_ARGUMENT, "found tpu"));
  CHECK(cf_context_create(nullptr, 0, -1, 0, &ctx, &e) == CF_INVALID_ARGUMENT);
  CHECK(cf_context_create("cpu", -1, -1, 0, &ctx, &e) == CF_INVALID_ARGUMENT && said(e, CF_INVALID_ARGUMENT, "threads"));
  CHECK(cf_context_create("cpu", 0, 9, 0, &ctx, &e) == CF_INVALID_ARGUMENT && said(e, CF_INVALID_ARGUMENT, "found 9"));
  CHECK(cf_context_create("cpu", 0, -1, 256, &ctx, &e) == CF_INVALID_ARGUMENT && said(e, CF_INVALID_ARGUMENT, "unknown flags"));
  CHECK(cf_context_create("cpu", 0, -1, 0, nullptr, &e) == CF_INVALID_ARGUMENT);
  CHECK(cf_context_create("cpu", 1, CF_ISA_PORTABLE, CF_NO_WINOGRAD, &ctx, &e) == CF_OK);
  const Text info([&](char* out, uint64_t len, uint64_t* needed) { return cf_context_info(ctx, out, len, needed, nullptr); });
  CHECK(info.has("\"threads\":1") && info.has("\"isa\":\"portable\"") && info.has("\"winograd\":false"));
  CHECK(cf_context_destroy(ctx, &e) == CF_OK);
  for (const cf_context stale : {ctx, cf_context{0}, cf_context{123456789}}) {
    CHECK(cf_context_destroy(stale, &e) == CF_INVALID_ARGUMENT && said(e, CF_INVALID_ARGUMENT, "not the handle of an open context"));
    CHECK(cf_context_cancel(stale, nullptr) == CF_INVALID_ARGUMENT);
    CHECK(cf_program_run(stale, &e) == CF_INVALID_ARGUMENT && said(e, CF_INVALID_ARGUMENT, "not the handle of an open program"));
  }
}

void states() {
  const cf_context ctx = open();
  cf_error e{};
  const uint32_t shape[2] = {2, 3}, other[1] = {8};
  float v[6] = {1, 2, 3, 4, 5, 6}, back[6] = {}, w[8] = {};
  CHECK(cf_state_set(ctx, "a\"b", CF_F32, shape, 2, v, sizeof v, &e) == CF_OK);
  CHECK(cf_state_set(ctx, "scalar", CF_U32, nullptr, 0, v, 4, &e) == CF_OK);
  CHECK(cf_state_get(ctx, "a\"b", back, sizeof back, &e) == CF_OK && std::memcmp(v, back, sizeof v) == 0);
  CHECK(cf_state_get(ctx, "a\"b", back, 4, &e) == CF_INVALID_ARGUMENT && said(e, CF_INVALID_ARGUMENT, "has 24 bytes, found 4"));
  CHECK(cf_state_get(ctx, "no", back, 4, &e) == CF_INVALID_ARGUMENT && said(e, CF_INVALID_ARGUMENT, "no state no"));
  CHECK(cf_state_set(ctx, "x", CF_F32, shape, 2, v, 20, &e) == CF_INVALID_ARGUMENT && said(e, CF_INVALID_ARGUMENT, "expected 24 bytes for f32[2, 3], found 20"));
  CHECK(cf_state_set(ctx, "", CF_F32, shape, 2, v, 24, &e) == CF_INVALID_ARGUMENT);
  CHECK(cf_state_set(ctx, "x", 7, shape, 2, v, 24, &e) == CF_INVALID_ARGUMENT);
  const Text list([&](char* out, uint64_t len, uint64_t* needed) { return cf_state_list(ctx, out, len, needed, nullptr); });
  CHECK(list.text == R"([{"name":"a\"b","dtype":"f32","shape":[2,3],"bytes":24},{"name":"scalar","dtype":"u32","shape":[],"bytes":4}])");
  CHECK(cf_state_set(ctx, "a\"b", CF_F32, other, 1, w, sizeof w, &e) == CF_OK);  // nobody uses it: it may change its shape
  CHECK(cf_state_remove(ctx, "a\"b", &e) == CF_OK && cf_state_remove(ctx, "a\"b", &e) == CF_INVALID_ARGUMENT);

  const std::vector<uint8_t> bytes = stepper().bytes();
  cf_program p = 1;
  CHECK(cf_program_load(ctx, bytes.data(), bytes.size(), 0, &p, &e) == CF_INVALID_ARGUMENT && p == 0 && said(e, CF_INVALID_ARGUMENT, "the state w f32[8]"));
  CHECK(cf_state_set(ctx, "w", CF_F32, shape, 2, v, sizeof v, &e) == CF_OK);
  CHECK(cf_program_load(ctx, bytes.data(), bytes.size(), 0, &p, &e) == CF_INVALID_ARGUMENT && said(e, CF_INVALID_ARGUMENT, "is f32[2, 3], but the program expects f32[8]"));
  CHECK(cf_state_set(ctx, "w", CF_F32, other, 1, w, sizeof w, &e) == CF_OK);
  CHECK(cf_program_load(ctx, bytes.data(), bytes.size(), 0, &p, &e) == CF_OK);
  CHECK(cf_state_set(ctx, "w", CF_F32, shape, 2, v, sizeof v, &e) == CF_INVALID_ARGUMENT && said(e, CF_INVALID_ARGUMENT, "a loaded program uses it"));
  CHECK(cf_state_remove(ctx, "w", &e) == CF_INVALID_ARGUMENT);
  CHECK(cf_program_destroy(p, &e) == CF_OK && cf_state_remove(ctx, "w", &e) == CF_OK);
  CHECK(cf_context_destroy(ctx, &e) == CF_OK);
}

void watching() {
  const cf_context ctx = open();
  cf_error e{};
  float x[24] = {};
  const cf_program p = load(ctx, stepper(), CF_CREATE_MISSING_STATE);
  const auto found = [&] { return Text([&](char* out, uint64_t len, uint64_t* needed) { return cf_program_watch_report(p, out, len, needed, nullptr); }); };
  CHECK(found().text == "null" && cf_program_watch(p, 2, &e) == CF_INVALID_ARGUMENT);
  CHECK(cf_program_watch(p, 1, &e) == CF_OK && cf_program_run(p, &e) == CF_OK && found().text == "null");
  // The second of three rows, and the third.
  x[8 + 3] = -INFINITY, x[16] = NAN;
  CHECK(cf_program_feed(p, 0, x, sizeof x, &e) == CF_OK && cf_program_run(p, &e) == CF_OK);
  const std::string expected = R"({"index":1,"op":"map","name":"step","loops":[1],"value":"-Infinity"})";
  CHECK(found().text == expected);
  // Kept until watching begins anew.
  x[8 + 3] = 0;
  CHECK(cf_program_feed(p, 0, x, sizeof x, &e) == CF_OK && cf_program_run(p, &e) == CF_OK && found().text == expected);
  CHECK(cf_program_watch(p, 0, &e) == CF_OK && found().text == expected && cf_program_watch(p, 1, &e) == CF_OK && found().text == "null");
  CHECK(cf_program_run(p, &e) == CF_OK && found().has(R"("loops":[2],"value":"NaN")"));
  CHECK(cf_context_destroy(ctx, &e) == CF_OK);
}

void runs() {
  const cf_context ctx = open();
  cf_error e{};
  const uint32_t shape[1] = {8};
  float w[8] = {1, 2, 3, 4, 5, 6, 7, 8}, x[24], y[24];
  for (int i = 0; i < 24; ++i) x[i] = 10.0f * static_cast<float>(i);
  CHECK(cf_state_set(ctx, "w", CF_F32, shape, 1, w, sizeof w, &e) == CF_OK);
  const cf_program p = load(ctx, stepper(), 0);
  const Text info([&](char* out, uint64_t len, uint64_t* needed) { return cf_program_info(p, out, len, needed, nullptr); });
  CHECK(info.has("\"instructions\":3,\"steps\":4,\"commit\":2") && info.has(R"("feeds":[{"index":0,"name":"x","dtype":"f32","shape":[3,8],"bytes":96}])") &&
        info.has(R"("fetches":[{"index":0,"name":"y")"));
  CHECK(cf_program_feed(p, 0, x, 4, &e) == CF_INVALID_ARGUMENT && cf_program_feed(p, 1, x, sizeof x, &e) == CF_INVALID_ARGUMENT);
  CHECK(cf_program_feed(p, 0, x, sizeof x, &e) == CF_OK);
  CHECK(cf_program_profile(p, 1, &e) == CF_OK);
  for (int round = 0; round < 3; ++round) {
    CHECK(cf_program_run(p, &e) == CF_OK && cf_program_fetch(p, 0, y, sizeof y, &e) == CF_OK);
    bool right = true;
    for (int i = 0; i < 24; ++i) right = right && y[i] == x[i] + w[i % 8] * static_cast<float>(1 << round);
    CHECK(right);
  }
  uint64_t progress[4];
  CHECK(cf_context_progress(ctx, progress, &e) == CF_OK && progress[0] == 3 && progress[1] == 4 && progress[2] == 4 && progress[3] == 1);
  const Text report([&](char* out, uint64_t len, uint64_t* needed) { return cf_program_profile_report(p, out, len, needed, nullptr); });
  CHECK(report.has(R"({"index":1,"op":"map","name":"step","calls":9,)"));
  // Reads a row of 8 and w, writes a row.
  CHECK(report.has(R"("flops":8,"bytes":96})"));
  uint64_t count = 0;
  CHECK(cf_program_profile_events(p, nullptr, 0, &count, &e) == CF_OK && count == 12);
  std::vector<uint64_t> events(3 * count);
  CHECK(cf_program_profile_events(p, events.data(), 7, &count, &e) == CF_OK && count == 12 && events[3 * 7 + 1] == 0);
  CHECK(cf_program_profile_events(p, events.data(), count, &count, &e) == CF_OK && events[0] == 1 && events[3 * 3] == 2);
  for (uint64_t k = 1; k < count; ++k) CHECK(events[3 * k + 1] >= events[3 * k - 2] + events[3 * k - 1]);
  CHECK(cf_program_profile_events(p, nullptr, 0, nullptr, &e) == CF_INVALID_ARGUMENT);
  // A second program of the same model sees the same w.
  const cf_program q = load(ctx, stepper(), 0);
  CHECK(cf_program_run(q, &e) == CF_OK && cf_state_get(ctx, "w", y, 32, &e) == CF_OK && y[0] == 16);
  // Runs of several threads queue.
  std::vector<std::thread> threads;
  std::atomic<int> done{0};
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&, i] {
      if (cf_program_run(i % 2 ? p : q, nullptr) == CF_OK) ++done;
    });
  for (std::thread& t : threads) t.join();
  CHECK(done == 8 && cf_state_get(ctx, "w", y, 32, &e) == CF_OK && y[0] == 16 * 256);
  CHECK(cf_context_destroy(ctx, &e) == CF_OK);
  CHECK(cf_program_run(p, &e) == CF_INVALID_ARGUMENT && cf_program_destroy(p, &e) == CF_INVALID_ARGUMENT);
}

/// s ← s · 2 + x[t], t counting up or down: the order shows in the result.
void loop_order() {
  for (const uint32_t reversed : {0u, 1u}) {
    ProgramBuilder b;
    const uint32_t x = b.buffer(BufferKind::feed, "x", {4}), y = b.buffer(BufferKind::fetch, "y", {1});
    const uint32_t item = b.tensor(x, {1}, {1}, 0, {1, 0, 0}), sum = b.tensor(y, {1}, {1});
    b.add(Op::map, {}, {sum}, {1, 0, 0, 0});
    b.add(Op::repeat, {}, {}, {4, 0, 1, reversed});
    const uint32_t add = static_cast<uint32_t>(ExprOp::add);
    b.add(Op::map, {sum, item}, {sum}, {0, 2, add, 0, 0, 0, add, 2, 1, 0, 3});
    const cf_context ctx = open();
    const cf_program p = load(ctx, b);
    const float v[4] = {1, 10, 100, 1000};
    float found = 0;
    CHECK(cf_program_feed(p, 0, v, sizeof v, nullptr) == CF_OK && cf_program_run(p, nullptr) == CF_OK && cf_program_fetch(p, 0, &found, 4, nullptr) == CF_OK);
    CHECK(found == (reversed ? 8000 + 400 + 20 + 1 : 8 + 40 + 200 + 1000));
    CHECK(cf_context_destroy(ctx, nullptr) == CF_OK);
  }
}

void wait_for_progress(cf_context ctx) {
  uint64_t progress[4] = {};
  while (progress[0] == 0 || progress[1] < 10) cf_context_progress(ctx, progress, nullptr);
}

void cancellation() {
  cf_error e{};
  const uint32_t shape[1] = {8};
  const float w[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  float back[8];
  enum class How { cancel, destroy_program, destroy_context };
  for (const How how : {How::cancel, How::destroy_program, How::destroy_context}) {
    const cf_context ctx = open();
    CHECK(cf_state_set(ctx, "w", CF_F32, shape, 1, w, sizeof w, &e) == CF_OK);
    const cf_program p = load(ctx, endless());
    std::atomic<int32_t> first{-1}, second{-1};
    std::thread one([&] { first = cf_program_run(p, nullptr); });
    wait_for_progress(ctx);
    std::thread two([&] { second = cf_program_run(p, nullptr); });
    CHECK(cf_program_feed(p, 0, w, 16, &e) == CF_INVALID_ARGUMENT && said(e, CF_INVALID_ARGUMENT, "the program is running"));
    CHECK(cf_state_set(ctx, "w", CF_F32, shape, 1, w, sizeof w, &e) == CF_INVALID_ARGUMENT && said(e, CF_INVALID_ARGUMENT, "a run is in progress"));
    CHECK(cf_state_get(ctx, "w", back, sizeof back, &e) == CF_OK && std::memcmp(w, back, sizeof w) == 0);
    const cf_program q = load(ctx, stepper());  // loading while something runs may grow the memory, and must not move it
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    if (how == How::cancel) CHECK(cf_context_cancel(ctx, &e) == CF_OK);
    if (how == How::destroy_program) CHECK(cf_program_destroy(p, &e) == CF_OK);
    if (how == How::destroy_context) CHECK(cf_context_destroy(ctx, &e) == CF_OK);
    one.join();
    two.join();
    CHECK(first == CF_CANCELLED && (second == CF_CANCELLED || (how != How::cancel && second == CF_INVALID_ARGUMENT)));
    if (how == How::destroy_context) {
      CHECK(cf_program_run(q, &e) == CF_INVALID_ARGUMENT);
      continue;
    }
    CHECK(cf_state_get(ctx, "w", back, sizeof back, &e) == CF_OK && std::memcmp(w, back, sizeof w) == 0);
    CHECK(cf_program_run(q, &e) == CF_OK);  // a cancellation concerns what was there when it came
    CHECK(cf_context_destroy(ctx, &e) == CF_OK);
  }
}

void memory() {
  const cf_context ctx = open();
  cf_error e{};
  const cf_program p = load(ctx, stepper());
  ProgramBuilder big = stepper();
  big.buffer(BufferKind::arena, "", {1u << 20, 1u << 20, 16});
  const std::vector<uint8_t> bytes = big.bytes();
  cf_program q;
  CHECK(cf_program_load(ctx, bytes.data(), bytes.size(), 1, &q, &e) == CF_OUT_OF_MEMORY && said(e, CF_OUT_OF_MEMORY, "70368744177664 bytes"));
  CHECK(cf_program_run(p, &e) == CF_OK);
  CHECK(cf_program_load(ctx, bytes.data(), 100, 1, &q, &e) == CF_INVALID_PROGRAM && cf_program_load(ctx, nullptr, 100, 1, &q, &e) == CF_INVALID_ARGUMENT);
  CHECK(cf_context_destroy(ctx, &e) == CF_OK);
}

void long_messages() {
  ProgramBuilder b = stepper();
  std::string name;
  while (name.size() < 700) name += "ü";
  b.program.names[0] = name;
  b.program.instrs[1].attrs.pop_back();
  const cf_context ctx = open();
  const std::vector<uint8_t> bytes = b.bytes();
  cf_program p;
  cf_error e{};
  CHECK(cf_program_load(ctx, bytes.data(), bytes.size(), 1, &p, &e) == CF_INVALID_PROGRAM);
  b.program.instrs[1].attrs.push_back(2);
  b.program.instrs[1].outputs = b.program.instrs[1].inputs;
  const std::vector<uint8_t> worse = b.bytes();
  CHECK(cf_program_load(ctx, worse.data(), worse.size(), 1, &p, &e) == CF_INVALID_PROGRAM && std::strlen(e.message) < sizeof e.message);
  // Cut between characters: what is left of "ü" is whole.
  const std::string text = e.message;
  CHECK(text.size() >= 510 && (text.substr(text.size() - 2) == "ü"));
  CHECK(cf_context_destroy(ctx, &e) == CF_OK);
}

}  // namespace

int main() {
  versions();
  contexts();
  states();
  runs();
  watching();
  loop_order();
  cancellation();
  memory();
  long_messages();
  return check::finish("test_executor");
}
