// Programs.
#include <algorithm>
#include <cmath>

#include "abi/guard.h"
#include "abi/handles.h"
#include "abi/json.h"
#include "program/decode.h"

using namespace cf;
using namespace cf::abi;

namespace {

std::string describe(const Loaded& p, const std::vector<uint32_t>& which, bool indexed) {
  std::vector<std::string> items;
  for (size_t i = 0; i < which.size(); ++i) {
    const Buffer& b = p.buffers[which[i]];
    JsonObject o;
    if (indexed) o.add("index", uint64_t{i});
    o.add("name", b.name).add("dtype", b.dtype == DType::f32 ? "f32" : "u32").raw("shape", json_array(b.shape)).add("bytes", b.bytes);
    items.push_back(o.text());
  }
  return json_array(items);
}

}  // namespace

int32_t cf_program_load(cf_context ctx, const void* bytes, uint64_t n, uint32_t flags, cf_program* out, cf_error* err) noexcept {
  const char* op = "cf_program_load";
  return guarded(op, err, [&] {
    require(out != nullptr, op, "out is NULL");
    *out = 0;
    require(bytes != nullptr, op, "bytes is NULL");
    require((flags & ~uint32_t{CF_CREATE_MISSING_STATE}) == 0, op, "unknown flags " + std::to_string(flags));
    const auto context = Handles::instance().context(ctx, op);
    const auto program = context->load(decode(static_cast<const uint8_t*>(bytes), n), flags & CF_CREATE_MISSING_STATE);
    try {
      *out = Handles::instance().add(ctx, program);
    } catch (...) {
      context->unload(program);
      throw;
    }
  });
}

int32_t cf_program_destroy(cf_program program, cf_error* err) noexcept {
  return guarded("cf_program_destroy", err, [&] {
    const ProgramEntry entry = Handles::instance().take_program(program, "cf_program_destroy");
    entry.context->unload(entry.program);
  });
}

int32_t cf_program_info(cf_program program, char* out, uint64_t len, uint64_t* needed, cf_error* err) noexcept {
  const char* op = "cf_program_info";
  return guarded(op, err, [&] {
    const ProgramEntry entry = Handles::instance().program(program, op);
    const Loaded& p = *entry.program;
    give_text(JsonObject()
                  .add("instructions", uint64_t{p.steps.size()})
                  .add("steps", p.total_steps)
                  .add("commit", uint64_t{p.commit})
                  .add("arena_bytes", p.arena_bytes)
                  .add("scratch_bytes", p.scratch_bytes)
                  .add("constant_bytes", p.constant_bytes)
                  .add("flops", p.flops)
                  .raw("states", describe(p, p.states, false))
                  .raw("feeds", describe(p, p.feeds, true))
                  .raw("fetches", describe(p, p.fetches, true))
                  .text(),
              out, len, needed, op);
  });
}

int32_t cf_program_feed(cf_program program, uint32_t index, const void* data, uint64_t bytes, cf_error* err) noexcept {
  const char* op = "cf_program_feed";
  return guarded(op, err, [&] {
    const ProgramEntry entry = Handles::instance().program(program, op);
    require(data != nullptr, op, "data is NULL");
    entry.context->feed(*entry.program, index, data, bytes);
  });
}

int32_t cf_program_fetch(cf_program program, uint32_t index, void* data, uint64_t bytes, cf_error* err) noexcept {
  const char* op = "cf_program_fetch";
  return guarded(op, err, [&] {
    const ProgramEntry entry = Handles::instance().program(program, op);
    require(data != nullptr, op, "data is NULL");
    entry.context->fetch(*entry.program, index, data, bytes);
  });
}

int32_t cf_program_run(cf_program program, cf_error* err) noexcept {
  const char* op = "cf_program_run";
  return guarded(op, err, [&] {
    const ProgramEntry entry = Handles::instance().program(program, op);
    entry.context->run(entry.program);
  });
}

int32_t cf_program_profile(cf_program program, uint32_t enable, cf_error* err) noexcept {
  const char* op = "cf_program_profile";
  return guarded(op, err, [&] {
    const ProgramEntry entry = Handles::instance().program(program, op);
    require(enable <= 1, op, "expected 0 or 1, found " + std::to_string(enable));
    entry.context->when_idle(*entry.program, op, [&] {
      if (enable) entry.program->profile.start(entry.program->steps.size());
      else entry.program->profile.stop();
     });
  });
}

int32_t cf_program_profile_report(cf_program program, char* out, uint64_t len, uint64_t* needed, cf_error* err) noexcept {
  const char* op = "cf_program_profile_report";
  return guarded(op, err, [&] {
    const ProgramEntry entry = Handles::instance().program(program, op);
    const Loaded& p = *entry.program;
    std::vector<std::string> items;
    entry.context->when_idle(p, op, [&] {
      for (size_t i = 0; i < p.steps.size(); ++i) {
        if (p.steps[i].op == Op::repeat) continue;
        items.push_back(JsonObject()
                            .add("index", uint64_t{i})
                            .add("op", op_name(p.steps[i].op))
                            .add("name", p.names[p.steps[i].name])
                            .add("calls", p.profile.stats[i].calls)
                            .add("seconds", 1e-9 * static_cast<double>(p.profile.stats[i].nanoseconds))
                            .add("flops", p.steps[i].flops)
                            .add("bytes", p.steps[i].bytes)
                            .text());
      }
    });
    give_text(json_array(items), out, len, needed, op);
  });
}

int32_t cf_program_profile_events(cf_program program, uint64_t* out, uint64_t capacity, uint64_t* count, cf_error* err) noexcept {
  const char* op = "cf_program_profile_events";
  return guarded(op, err, [&] {
    const ProgramEntry entry = Handles::instance().program(program, op);
    require(count != nullptr, op, "count is NULL");
    entry.context->when_idle(*entry.program, op, [&] {
      const auto& events = entry.program->profile.events;
      *count = events.size();
      const uint64_t n = out ? std::min<uint64_t>(capacity, events.size()) : 0;
      for (uint64_t k = 0; k < n; ++k) out[3 * k] = events[k].instr, out[3 * k + 1] = events[k].begin, out[3 * k + 2] = events[k].nanoseconds;
    });
  });
}

int32_t cf_program_watch(cf_program program, uint32_t enable, cf_error* err) noexcept {
  const char* op = "cf_program_watch";
  return guarded(op, err, [&] {
    const ProgramEntry entry = Handles::instance().program(program, op);
    require(enable <= 1, op, "expected 0 or 1, found " + std::to_string(enable));
    if (enable && !entry.program->watches) throw Error(Code::unsupported, op, "this device can't look at what each instruction writes");
    entry.context->when_idle(*entry.program, op, [&] {
      if (enable) entry.program->watch.start();
      else entry.program->watch.stop();
    });
  });
}

int32_t cf_program_watch_report(cf_program program, char* out, uint64_t len, uint64_t* needed, cf_error* err) noexcept {
  const char* op = "cf_program_watch_report";
  return guarded(op, err, [&] {
    const ProgramEntry entry = Handles::instance().program(program, op);
    const Loaded& p = *entry.program;
    std::string text = "null";
    entry.context->when_idle(p, op, [&] {
      const auto& found = p.watch.found();
      if (!found) return;
      text = JsonObject()
                 .add("index", uint64_t{found->instr})
                 .add("op", op_name(p.steps[found->instr].op))
                 .add("name", p.names[p.steps[found->instr].name])
                 .raw("loops", json_array(found->loops))
                 .add("value", std::isnan(found->value) ? "NaN" : found->value > 0 ? "Infinity" : "-Infinity")
                 .text();
    });
    give_text(text, out, len, needed, op);
  });
}
