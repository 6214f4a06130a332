// Where NVIDIA's libraries are on this machine.
#pragma once
#include <string>
#include <vector>

namespace cf::cuda::gpu {

/// Opens the first library of these names ("libnvrtc.so.13") that loads: by the system's loader first, then in `library_folders()`. NULL when none does;
/// `why`, where not NULL, then gets what the loader said of a file that is there.
void* open_library(const std::vector<std::string>& names, std::string* why);

/// Folders that may hold NVIDIA's libraries, in the order they are searched: COOPFLOW_CUDA_PATH, CUDA_HOME, CONDA_PREFIX, the packages of VIRTUAL_ENV's Python and
/// of python3 on PATH, what scripts/cuda_toolkit.sh installed, and CUDA's usual places.
std::vector<std::string> library_folders();

}  // namespace cf::cuda::gpu
