// Disjoint stretches of addresses, each with a value.
#pragma once
#include <cstdint>
#include <iterator>
#include <map>
#include <utility>

namespace cf::cuda {

template <class Value>
class Stretches {
 public:
  struct Stretch {
    uint64_t end;
    Value value;
  };
  using Iterator = typename std::map<uint64_t, Stretch>::iterator;

  /// From then on no stretch reaches over `at`. The first that begins there or later.
  Iterator split(uint64_t at) {
    auto s = all.lower_bound(at);
    if (s == all.begin()) return s;
    const auto before = std::prev(s);
    if (before->second.end <= at) return s;
    s = all.emplace_hint(s, at, before->second);
    before->second.end = at;
    return s;
  }
  /// The range has this value, whatever it had.
  void set(uint64_t begin, uint64_t end, Value value) {
    split(begin);
    const auto behind = split(end);
    all.erase(all.lower_bound(begin), behind);
    if (begin < end) all.emplace(begin, Stretch{end, std::move(value)});
  }

  std::map<uint64_t, Stretch> all;  ///< by their beginnings
};

}  // namespace cf::cuda
