// That every slot's work is done once, on a thread of its own, however long anybody waits, and what happens when it throws.
#include "cpu/team.h"

#include <array>
#include <chrono>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "check.h"

using namespace cf::cpu;

namespace {

constexpr int kMost = 5;

void rest(int microseconds) { std::this_thread::sleep_for(std::chrono::microseconds(microseconds)); }

/// Ids of the threads that did the slots of one meeting.
std::array<std::thread::id, kMost> meet(int threads) {
  std::array<std::thread::id, kMost> ids{};
  std::array<int, kMost> times{};
  on_team(threads, [&](int slot) {
    ids[static_cast<size_t>(slot)] = std::this_thread::get_id();
    ++times[static_cast<size_t>(slot)];
  });
  for (int k = 0; k < kMost; ++k) CHECK(times[static_cast<size_t>(k)] == (k < threads ? 1 : 0));
  return ids;
}

void slots_have_threads() {
  std::array<std::thread::id, kMost> first{};
  for (const int threads : {1, 2, kMost, 3, kMost, 2}) {
    const auto ids = meet(threads);
    CHECK(ids[0] == std::this_thread::get_id());
    CHECK(std::set<std::thread::id>(ids.begin(), ids.begin() + threads).size() == static_cast<size_t>(threads));
    // A slot stays with its thread, and so with that core's cache.
    for (size_t k = 0; k < static_cast<size_t>(threads); ++k) {
      if (first[k] == std::thread::id{}) first[k] = ids[k];
      CHECK(ids[k] == first[k]);
    }
  }
}

// Plain variables: what one meeting writes, the next one's threads read.
void meetings_follow_each_other() {
  std::array<long, 3> sums{};
  for (long round = 0; round < 20000; ++round) {
    on_team(3, [&](int slot) { sums[static_cast<size_t>(slot)] += round; });
    std::swap(sums[0], sums[round % 3]);
  }
  CHECK(sums[0] + sums[1] + sums[2] == 3l * 19999 * 20000 / 2);
}

// Helpers sleep before their owner calls, or the owner before they are done.
void sleepers_wake() {
  int done = 0;
  for (int round = 0; round < 60; ++round) {
    rest(round % 3 == 0 ? 2000 : 40 * (round % 7));
    int other = 0;
    on_team(2, [&](int slot) {
      if (slot == 1) rest(round % 3 == 1 ? 2000 : 40 * (round % 5)), other = 1;
    });
    done += other;
  }
  CHECK(done == 60);
}

void within_another() {
  std::array<int, 2> count{};
  std::array<bool, 2> here{true, true};
  on_team(2, [&](int slot) {
    const auto me = std::this_thread::get_id();
    const size_t k = static_cast<size_t>(slot);
    on_team(4, [&](int) {
      ++count[k];
      here[k] = here[k] && std::this_thread::get_id() == me;
    });
  });
  CHECK(count[0] == 4 && count[1] == 4 && here[0] && here[1]);
}

void owners_side_by_side() {
  std::array<long, 3> sums{};
  std::vector<std::thread> owners;
  for (size_t k = 0; k < sums.size(); ++k)
    owners.emplace_back([&, k] {
      const Team::Running running(64);  // more than there are processors: nobody looks for long
      std::array<long, 2> own{};
      for (int round = 0; round < 2000; ++round) on_team(2, [&](int slot) { ++own[static_cast<size_t>(slot)]; });
      sums[k] = own[0] + own[1];
    });
  for (std::thread& owner : owners) owner.join();
  for (const long sum : sums) CHECK(sum == 4000);
}

void what_is_thrown_arrives() {
  for (const int thrower : {0, 1, 2}) {
    std::array<bool, 3> done{};
    std::string said;
    try {
      on_team(3, [&](int slot) {
        if (slot == thrower) throw std::runtime_error("slot " + std::to_string(slot));
        rest(200);
        done[static_cast<size_t>(slot)] = true;
      });
    } catch (const std::runtime_error& e) {
      said = e.what();
    }
    CHECK(said == "slot " + std::to_string(thrower));
    for (int k = 0; k < 3; ++k) CHECK(done[static_cast<size_t>(k)] == (k != thrower));
    meet(3);
  }
}

}  // namespace

int main() {
  slots_have_threads();
  meetings_follow_each_other();
  sleepers_wake();
  within_another();
  owners_side_by_side();
  what_is_thrown_arrives();
  return check::finish("test_team");
}
