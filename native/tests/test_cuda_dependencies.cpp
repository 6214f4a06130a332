// What launches of a graph wait for, by hand-made lists.
#include <random>

#include "check.h"
#include "cuda/dependencies.h"

using namespace cf;
using namespace cf::cuda;

namespace {

using Waits = std::vector<std::vector<uint32_t>>;

/// Buffers 0 and 1 lie one behind the other, as parts of an arena; buffer 2 on the second half of 0, as one that takes its place later.
char memory[400], scratch[100];
const Binding kBinding{{memory, memory + 100, memory + 50}, scratch, nullptr};

Range of(uint32_t buffer, uint64_t begin, uint64_t end) { return {Place::Kind::buffer, buffer, begin, end}; }
Range in_scratch(uint64_t begin, uint64_t end) { return {Place::Kind::scratch, 0, begin, end}; }

struct List {
  LaunchList list;
  List& add(std::vector<Range> reads, std::vector<Range> writes) {
    Launch l;
    l.kind = Launch::Kind::kernel, l.reads = std::move(reads), l.writes = std::move(writes);
    list.launches.push_back(std::move(l));
    return *this;
  }
  Waits waits(uint32_t begin = 0, const std::vector<Workspace>& workspaces = {}) const {
    return dependencies(list, kBinding, begin, static_cast<uint32_t>(list.launches.size()), workspaces);
  }
};

void orders() {
  const Range a = of(0, 0, 50), b = of(1, 0, 100);
  CHECK(List().add({}, {a}).add({a}, {b}).waits() == Waits({{}, {0}}));                        // read after write
  CHECK(List().add({a}, {b}).add({}, {a}).waits() == Waits({{}, {0}}));                        // write after read
  CHECK(List().add({}, {a}).add({}, {a}).waits() == Waits({{}, {0}}));                         // write after write
  CHECK(List().add({a}, {b}).add({a}, {of(0, 60, 70)}).waits() == Waits({{}, {}}));            // reads don't wait for reads
  CHECK(List().add({}, {of(0, 0, 50)}).add({of(0, 50, 51)}, {b}).waits() == Waits({{}, {}}));  // neighbours
  CHECK(List().add({}, {of(0, 0, 50)}).add({of(0, 49, 51)}, {b}).waits() == Waits({{}, {0}}));
  CHECK(List().add({a}, {a}).add({a}, {a}).waits() == Waits({{}, {0}}));                       // in place
}

void parts() {
  // Two writers of the halves of what is read; then only the second half is written again.
  CHECK(List().add({}, {of(1, 0, 40)}).add({}, {of(1, 40, 100)}).add({of(1, 0, 100)}, {of(0, 0, 1)}).add({}, {of(1, 50, 60)}).add({of(1, 45, 55)}, {of(0, 1, 2)}).waits() ==
        Waits({{}, {}, {0, 1}, {2}, {3}}));
  // All readers of what is written over.
  CHECK(List().add({of(1, 0, 10)}, {of(0, 0, 1)}).add({of(1, 5, 20)}, {of(0, 1, 2)}).add({}, {of(1, 0, 100)}).waits() == Waits({{}, {}, {0, 1}}));
}

void addresses() {
  CHECK(List().add({}, {of(0, 60, 70)}).add({of(2, 10, 20)}, {of(1, 0, 1)}).waits() == Waits({{}, {0}}));  // two buffers in one place
  CHECK(List().add({}, {of(0, 0, 50)}).add({of(2, 0, 20)}, {of(1, 0, 1)}).waits() == Waits({{}, {}}));
  CHECK(List().add({}, {in_scratch(0, 10)}).add({}, {of(0, 0, 10)}).add({in_scratch(5, 6)}, {of(1, 0, 1)}).waits() == Waits({{}, {}, {0}}));
}

void implied() {
  const Range x = of(0, 0, 10), y = of(0, 10, 20), z = of(0, 20, 30), w = of(0, 30, 40);
  // 3 reads what 0, 1 and 2 made; 2 has waited for 1, and 1 for 0.
  CHECK(List().add({}, {x}).add({x}, {y}).add({y}, {z}).add({x, y, z}, {w}).waits() == Waits({{}, {0}, {1}, {2}}));
  // 1 and 2 wait for 0 alone: 3 has to wait for both.
  CHECK(List().add({}, {x}).add({x}, {y}).add({x}, {z}).add({x, y, z}, {w}).waits() == Waits({{}, {0}, {0}, {1, 2}}));
}

void segments() {
  const Range x = of(0, 0, 10), y = of(0, 10, 20);
  CHECK(List().add({}, {x}).add({x}, {y}).add({y}, {x}).waits(1) == Waits({{}, {0}}));
  // A workspace is written by whoever uses it.
  List two;
  two.add({}, {x}).add({}, {y});
  CHECK(two.waits(0, {{scratch, 10}, {scratch + 5, 10}}) == Waits({{}, {0}}));
  CHECK(two.waits(0, {{scratch, 10}, {scratch + 10, 10}}) == Waits({{}, {}}));
  CHECK(two.waits(0, {{scratch, 10}, {scratch, 0}}) == Waits({{}, {}}));
}

/// Random lists: of each two launches that touch the same bytes, one of which writes, the later waits for the earlier, by itself or through others; and no launch
/// waits for one that has nothing to do with what it or those between them touch, nor for one that another wait implies.
void at_random() {
  std::mt19937 random(7);
  const auto below = [&](uint32_t n) { return static_cast<uint32_t>(random() % n); };
  constexpr uint32_t kCount = 40;
  for (uint32_t round = 0; round < 200; ++round) {
    List l;
    for (uint32_t i = 0; i < kCount; ++i) {
      std::vector<Range> ranges[2];
      for (uint32_t k = below(3) + 1; k-- > 0;) {
        const uint64_t at = below(40), end = at + 1 + below(10);
        ranges[k == 0].push_back(below(4) == 0 ? in_scratch(at, end) : of(below(3), at, end));
      }
      l.add(ranges[0], ranges[1]);
    }
    const auto address = [](const Range& r) { return kBinding.at({r.kind, r.buffer, r.begin}); };
    const auto meet = [&](const std::vector<Range>& a, const std::vector<Range>& b) {
      for (const Range& x : a)
        for (const Range& y : b)
          if (address(x) < address(y) + (y.end - y.begin) && address(y) < address(x) + (x.end - x.begin)) return true;
      return false;
    };
    const auto conflict = [&](uint32_t i, uint32_t j) {
      const Launch &a = l.list.launches[i], &b = l.list.launches[j];
      return meet(a.writes, b.writes) || meet(a.writes, b.reads) || meet(a.reads, b.writes);
    };
    const Waits found = l.waits();
    std::vector<std::vector<bool>> reach(kCount, std::vector<bool>(kCount)), wanted = reach;
    bool right = true;
    for (uint32_t j = 0; j < kCount; ++j) {
      for (uint32_t i = j; i-- > 0;)
        if (conflict(i, j)) {
          wanted[j][i] = true;
          for (uint32_t k = 0; k < i; ++k) wanted[j][k] = wanted[j][k] || wanted[i][k];
        }
      for (auto d = found[j].rbegin(); d != found[j].rend(); ++d) {
        right = right && !reach[j][*d];
        reach[j][*d] = true;
        for (uint32_t k = 0; k < *d; ++k) reach[j][k] = reach[j][k] || reach[*d][k];
      }
    }
    CHECK(right && reach == wanted);
  }
}

}  // namespace

int main() {
  orders();
  parts();
  addresses();
  implied();
  segments();
  at_random();
  return check::finish("cuda dependencies");
}
