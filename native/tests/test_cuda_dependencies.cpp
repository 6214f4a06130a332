// What launches of a graph wait for, by hand-made lists.
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

}  // namespace

int main() {
  orders();
  parts();
  addresses();
  implied();
  segments();
  return check::finish("cuda dependencies");
}
