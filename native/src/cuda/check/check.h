// What must hold of a launch list whatever it computes, checked without a GPU.
#pragma once
#include "cuda/launch.h"

namespace cf::cuda {

/// Proves, launch by launch and twice through every loop (once as its first pass, once as all of them), that
///  - what is read was written before: by the host (states, feeds, constants), or by a launch, with nothing else written to that part of the arena since,
///    and scratch by a launch of the same instruction;
///  - a launch writes nothing that it also reads or writes elsewhere, except, for a kernel, exactly in place;
///  - a graph of it can be replayed: every pointer is a place within a buffer, scratch or the loop counters that the launch says it reads or writes, and every
///    launch runs once, in order;
///  - grids, blocks, arguments and shared memory are ones that a GPU takes.
/// Parts of buffers are known as ranges: holes in a strided operand count as touched. Throws Error{internal} naming the launch.
void check(const LaunchList& list, const Program& program);

}  // namespace cf::cuda
