// Contexts and state.
#include <oneapi/dnnl/dnnl.h>

#include "abi/direct.h"
#include "abi/guard.h"
#include "abi/handles.h"
#include "abi/json.h"
#include "abi/open_backend.h"
#include "cpu/device.h"
#include "program/op_table_hash.h"

using namespace cf;
using namespace cf::abi;

static_assert(static_cast<int32_t>(Code::internal) == CF_INTERNAL && static_cast<int32_t>(Code::cancelled) == CF_CANCELLED &&
                  static_cast<int32_t>(Code::out_of_memory) == CF_OUT_OF_MEMORY,
              "the two lists of codes are one");

namespace {

std::string hex(uint64_t v) {
  char buffer[24];
  std::snprintf(buffer, sizeof buffer, "%016" PRIx64, v);
  return buffer;
}

}  // namespace

uint32_t cf_abi_version(void) noexcept { return CF_ABI_VERSION; }

int32_t cf_build_info(char* out, uint64_t len, uint64_t* needed, cf_error* err) noexcept {
  return guarded("cf_build_info", err, [&] {
    const dnnl_version_t* v = dnnl_version();
    std::vector<std::string> isas;
    for (cpu::Isa isa : cpu::available_isas()) isas.push_back(quoted(cpu::isa_name(isa)));
    give_text(JsonObject()
                  .add("version", CF_VERSION)
                  .add("abi", uint64_t{CF_ABI_VERSION})
                  .add("op_table", hex(kOpTableHash))
                  .add("onednn", std::to_string(v->major) + "." + std::to_string(v->minor) + "." + std::to_string(v->patch))
                  .add("compiler", __VERSION__)
                  .raw("isa", json_array(isas))
                  .text(),
              out, len, needed, "cf_build_info");
  });
}

int32_t cf_context_create(const char* device, int32_t threads, int32_t isa, uint32_t flags, cf_context* out, cf_error* err) noexcept {
  const char* op = "cf_context_create";
  return guarded(op, err, [&] {
    require(out != nullptr, op, "out is NULL");
    *out = 0;
    *out = Handles::instance().add(std::make_shared<Context>(open_backend(name_argument(device, op), threads, isa, flags, op)));
  });
}

int32_t cf_context_destroy(cf_context ctx, cf_error* err) noexcept {
  return guarded("cf_context_destroy", err, [&] {
    const auto context = Handles::instance().take_context(ctx, "cf_context_destroy");
    forget_direct(ctx);
    context->shutdown();
  });
}

int32_t cf_context_info(cf_context ctx, char* out, uint64_t len, uint64_t* needed, cf_error* err) noexcept {
  const char* op = "cf_context_info";
  return guarded(op, err, [&] {
    const auto context = Handles::instance().context(ctx, op);
    const Backend::Info d = context->device();
    const Context::Info i = context->info();
    give_text(JsonObject()
                  .add("device", d.device)
                  .add("detail", d.detail)
                  .add("threads", static_cast<uint64_t>(d.threads))
                  .add("isa", d.isa)
                  .add("winograd", d.winograd)
                  .add("arena_bytes", i.arena_bytes)
                  .add("scratch_bytes", i.scratch_bytes)
                  .add("state_bytes", i.state_bytes)
                  .add("device_peak_bytes", d.peak_bytes)
                  .add("device_free_bytes", d.memory.free)
                  .add("device_bytes", d.memory.total)
                  .add("refused_bytes", i.refused_bytes)
                  .add("programs", i.programs)
                  .text(),
              out, len, needed, op);
  });
}

int32_t cf_context_cancel(cf_context ctx, cf_error* err) noexcept {
  return guarded("cf_context_cancel", err, [&] { Handles::instance().context(ctx, "cf_context_cancel")->cancel(); });
}

int32_t cf_context_progress(cf_context ctx, uint64_t out[4], cf_error* err) noexcept {
  const char* op = "cf_context_progress";
  return guarded(op, err, [&] {
    require(out != nullptr, op, "out is NULL");
    const auto context = Handles::instance().context(ctx, op);
    const Progress& p = context->progress();
    out[0] = p.serial.load(std::memory_order_acquire);
    out[1] = p.done.load(std::memory_order_relaxed);
    out[2] = p.total.load(std::memory_order_relaxed);
    out[3] = p.commit.load(std::memory_order_relaxed);
  });
}

int32_t cf_state_set(cf_context ctx, const char* name, uint32_t dtype, const uint32_t* shape, uint32_t rank, const void* data, uint64_t bytes,
                     cf_error* err) noexcept {
  const char* op = "cf_state_set";
  return guarded(op, err, [&] {
    const auto context = Handles::instance().context(ctx, op);
    const std::string key = name_argument(name, op);
    require(dtype <= CF_U32, op, "unknown dtype " + std::to_string(dtype));
    require(rank <= kMaxRank, op, "expected a rank up to " + std::to_string(kMaxRank) + ", found " + std::to_string(rank));
    require(shape != nullptr || rank == 0, op, "shape is NULL");
    context->set_state(key, static_cast<DType>(dtype), std::vector<uint32_t>(shape, shape + rank), data, bytes);
  });
}

int32_t cf_state_get(cf_context ctx, const char* name, void* data, uint64_t bytes, cf_error* err) noexcept {
  const char* op = "cf_state_get";
  return guarded(op, err, [&] {
    const auto context = Handles::instance().context(ctx, op);
    require(data != nullptr, op, "data is NULL");
    context->get_state(name_argument(name, op), data, bytes);
  });
}

int32_t cf_state_remove(cf_context ctx, const char* name, cf_error* err) noexcept {
  const char* op = "cf_state_remove";
  return guarded(op, err, [&] { Handles::instance().context(ctx, op)->remove_state(name_argument(name, op)); });
}

int32_t cf_state_list(cf_context ctx, char* out, uint64_t len, uint64_t* needed, cf_error* err) noexcept {
  const char* op = "cf_state_list";
  return guarded(op, err, [&] {
    std::vector<std::string> items;
    for (const auto& s : Handles::instance().context(ctx, op)->list_states())
      items.push_back(JsonObject()
                          .add("name", s.name)
                          .add("dtype", s.dtype == DType::f32 ? "f32" : "u32")
                          .raw("shape", json_array(s.shape))
                          .add("bytes", s.bytes)
                          .text());
    give_text(json_array(items), out, len, needed, op);
  });
}
