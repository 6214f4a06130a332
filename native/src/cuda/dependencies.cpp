#include "cuda/dependencies.h"

#include <algorithm>
#include <map>

namespace cf::cuda {
namespace {

/// Who wrote and who has read since: disjoint stretches of addresses.
class Touched {
 public:
  void read(const char* from, const char* to, uint32_t launch, std::vector<uint32_t>& before) {
    split(from), split(to);
    // What nobody wrote before is noted too: who writes it later waits for its readers.
    for (const char* at = from; at < to;) {
      auto s = stretches_.lower_bound(at);
      if (s == stretches_.end() || s->first > at) {
        const char* const end = s == stretches_.end() ? to : std::min(to, s->first);
        s = stretches_.emplace(at, Stretch{end, kNone, {}}).first;
      }
      if (s->second.writer != kNone) before.push_back(s->second.writer);
      if (s->second.readers.empty() || s->second.readers.back() != launch) s->second.readers.push_back(launch);
      at = s->second.end;
    }
  }
  void write(const char* from, const char* to, uint32_t launch, std::vector<uint32_t>& before) {
    split(from), split(to);
    auto s = stretches_.lower_bound(from);
    while (s != stretches_.end() && s->first < to) {
      if (s->second.writer != kNone) before.push_back(s->second.writer);
      before.insert(before.end(), s->second.readers.begin(), s->second.readers.end());
      s = stretches_.erase(s);
    }
    stretches_.emplace(from, Stretch{to, launch, {}});
  }

 private:
  static constexpr uint32_t kNone = ~0u;
  struct Stretch {
    const char* end;
    uint32_t writer;
    std::vector<uint32_t> readers;
  };
  void split(const char* at) {
    auto s = stretches_.lower_bound(at);
    if (s == stretches_.begin()) return;
    --s;
    if (s->second.end <= at) return;
    stretches_[at] = s->second;
    s->second.end = at;
  }
  std::map<const char*, Stretch> stretches_;
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
    const auto address = [&](const Range& r) { return binding.at({r.kind, r.buffer, r.begin}); };
    for (const Range& r : l.reads) memory.read(address(r), address(r) + (r.end - r.begin), self, before);
    for (const Range& r : l.writes) memory.write(address(r), address(r) + (r.end - r.begin), self, before);
    if (i < workspaces.size() && workspaces[i].bytes > 0) memory.write(workspaces[i].data, workspaces[i].data + workspaces[i].bytes, self, before);
    before.erase(std::remove(before.begin(), before.end(), self), before.end());
    std::vector<bool> all(self + 1);
    out.push_back(reduced(std::move(before), ancestors, all));
    all[self] = true;
    ancestors.push_back(std::move(all));
  }
  return out;
}

}  // namespace cf::cuda
