#include "abi/direct.h"

#include <map>

namespace cf::abi {
namespace {

constexpr size_t kKept = 64;  // shapes per context

struct Kept {
  std::mutex busy;
  std::map<std::string, std::shared_ptr<Loaded>> programs;
};

std::mutex all_mutex;
std::map<uint64_t, std::shared_ptr<Kept>>& all() {
  static std::map<uint64_t, std::shared_ptr<Kept>> kept;
  return kept;
}

std::shared_ptr<Kept> kept_for(uint64_t ctx) {
  const std::lock_guard<std::mutex> hold(all_mutex);
  auto& slot = all()[ctx];
  if (!slot) slot = std::make_shared<Kept>();
  return slot;
}

}  // namespace

void run_direct(uint64_t ctx, const char* op, const std::string& key, const std::function<Program()>& make, const Transfer& transfer) {
  const auto context = Handles::instance().context(ctx, op);
  const auto kept = kept_for(ctx);
  const std::lock_guard<std::mutex> one_at_a_time(kept->busy);
  auto found = kept->programs.find(key);
  if (found == kept->programs.end()) {
    if (kept->programs.size() >= kKept) {
      for (const auto& [_, program] : kept->programs) context->unload(program);
      kept->programs.clear();
    }
    found = kept->programs.emplace(key, context->load(make(), false)).first;
  }
  Loaded& p = *found->second;
  for (uint32_t i = 0; i < transfer.feeds.size(); ++i) context->feed(p, i, transfer.feeds[i], p.buffers[p.feeds[i]].bytes);
  context->run(found->second);
  for (uint32_t i = 0; i < transfer.fetches.size(); ++i) context->fetch(p, i, transfer.fetches[i], p.buffers[p.fetches[i]].bytes);
}

void forget_direct(uint64_t ctx) noexcept {
  const std::lock_guard<std::mutex> hold(all_mutex);
  all().erase(ctx);
}

}  // namespace cf::abi
