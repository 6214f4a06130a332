// In which order instructions run, and which of them at the same time. Most of a flow's are so small that waking a second thread for one of them costs more
// than it saves. They are put off until somebody needs what they make; then all that wait run in one parallel region, each on one thread.
#pragma once
#include <vector>

#include "cpu/kernel.h"

namespace cf::cpu {

struct Turn {
  uint32_t instr;
  uint32_t end;                 ///< behind the last turn of the region that begins here; one further where there is none
  std::vector<uint32_t> after;  ///< turns of the same region, before this one, that have to be done first
};

/// Turn k of repeats, and of all else somewhere between the same two ends of repeats and commit, is instruction k's. Whoever touches what another one writes
/// stays behind it or before it. `prices`: Kernel::price() per instruction, {} for repeats.
std::vector<Turn> plan_turns(const Program& program, const std::vector<Price>& prices, int threads);

}  // namespace cf::cpu
