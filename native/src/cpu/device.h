// What this machine offers, and how a context's threads are set up.
#pragma once
#include <string>
#include <vector>

#include "cpu/kernel.h"

namespace cf::cpu {

/// What can run here, best first.
std::vector<Isa> available_isas();
const char* isa_name(Isa isa) noexcept;

/// Physical cores that this process may use (affinity and container quotas respected), at least 1.
int physical_cores();

/// threads 0 = physical_cores(); isa −1 = COOPFLOW_ISA where set, else the best. Throws Error{invalid_argument | unsupported}.
Device make_device(int threads, int isa, bool winograd);

/// Denormals to zero in the calling thread: they cost a hundred times a normal operation and carry nothing here.
void flush_denormals() noexcept;

}  // namespace cf::cpu
