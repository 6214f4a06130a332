#pragma once

namespace cf {

/// Gives free pages of the heap back to the system, where the C library can.
void trim_heap();

}  // namespace cf
