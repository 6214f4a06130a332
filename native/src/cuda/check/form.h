// One launch by itself.
#pragma once
#include <string>

#include "cuda/launch.h"

namespace cf::cuda {

/// Throws Error{internal}: `message`, behind the name of the launch that it is about (NULL: the list as a whole).
[[noreturn]] void refuse_launch(const LaunchList& list, const Launch* launch, const std::string& message);

/// "[begin, end)", for messages.
std::string span_text(uint64_t begin, uint64_t end);

/// That a launch's operands lie in their buffers, that it points at nothing else, and that its grid, blocks, arguments and shared memory are ones that a GPU takes.
void check_form(const LaunchList& list, const Program& program, const Launch& launch);

}  // namespace cf::cuda
