#include "cuda/dependencies.h"

#include <algorithm>

#include "cuda/stretches.h"

namespace cf::cuda {
namespace {

constexpr uint32_t kNone = ~0u;

struct Touch {
  uint32_t writer;
  std::vector<uint32_t> readers;  ///< since
};

/// Who touched what.
class Touched {
 public:
  void read(uint64_t begin, uint64_t end, uint32_t launch, std::vector<uint32_t>& before) {
    auto& all = touches_.all;
    touches_.split(end);
    auto s = touches_.split(begin);
    // What nobody wrote before is noted too: who writes it later waits for its readers.
    for (uint64_t at = begin; at < end; at = s->second.end, ++s) {
      if (s == all.end() || s->first > at) s = all.emplace_hint(s, at, Stretch{s == all.end() ? end : std::min(end, s->first), {kNone, {}}});
      Touch& t = s->second.value;
      if (t.writer != kNone) before.push_back(t.writer);
      if (t.readers.empty() || t.readers.back() != launch) t.readers.push_back(launch);
    }
  }
  void write(uint64_t begin, uint64_t end, uint32_t launch, std::vector<uint32_t>& before) {
    const auto behind = touches_.split(end);
    for (auto s = touches_.split(begin); s != behind; ++s) {
      const Touch& t = s->second.value;
      if (t.writer != kNone) before.push_back(t.writer);
      before.insert(before.end(), t.readers.begin(), t.readers.end());
    }
    touches_.set(begin, end, {launch, {}});
  }

 private:
  using Stretch = Stretches<Touch>::Stretch;
  Stretches<Touch> touches_;
};

/// Without those that others wait for already. `ancestors[i]`: all that launch i waits for, itself included.
std::vector<uint32_t> reduced(std::vector<uint32_t> before, const std::vector<std::vector<bool>>& ancestors, std::vector<bool>& all) {
  std::sort(before.begin(), before.end());
  before.erase(std::unique(before.begin(), before.end()), before.end());
  std::vector<uint32_t> out;
  for (auto d = before.rbegin(); d != before.rend(); ++d) {
    if (all[*d]) continue;
    out.push_back(*d);
    for (uint32_t k = 0; k <= *d; ++k) all[k] = all[k] || ancestors[*d][k];
  }
  std::reverse(out.begin(), out.end());
  return out;
}

}  // namespace

std::vector<std::vector<uint32_t>> dependencies(const LaunchList& list, const Binding& binding, uint32_t begin, uint32_t end, const std::vector<Workspace>& workspaces) {
  Touched memory;
  std::vector<std::vector<uint32_t>> out;
  std::vector<std::vector<bool>> ancestors;
  for (uint32_t i = begin; i < end; ++i) {
    const uint32_t self = i - begin;
    const Launch& l = list.launches[i];
    std::vector<uint32_t> before;
    const auto address = [](const char* p) { return static_cast<uint64_t>(reinterpret_cast<uintptr_t>(p)); };
    const auto first = [&](const Range& r) { return address(binding.at({r.kind, r.buffer, r.begin})); };
    for (const Range& r : l.reads) memory.read(first(r), first(r) + (r.end - r.begin), self, before);
    for (const Range& r : l.writes) memory.write(first(r), first(r) + (r.end - r.begin), self, before);
    if (i < workspaces.size() && workspaces[i].bytes > 0) memory.write(address(workspaces[i].data), address(workspaces[i].data) + workspaces[i].bytes, self, before);
    before.erase(std::remove(before.begin(), before.end(), self), before.end());
    std::vector<bool> all(self + 1);
    out.push_back(reduced(std::move(before), ancestors, all));
    all[self] = true;
    ancestors.push_back(std::move(all));
  }
  return out;
}

}  // namespace cf::cuda
