// What took time to make and can be made again: compiled kernels, algorithms chosen by measurement.
#pragma once
#include <optional>
#include <string>

namespace cf::cuda::gpu {

/// COOPFLOW_CACHE (empty: none), else XDG_CACHE_HOME/coopflow, else ~/.cache/coopflow: as the TypeScript library has it. Empty when there is none.
std::string cache_folder();

class DiskCache {
 public:
  /// Keeps files in cache_folder()/cuda; without a cache folder it keeps nothing.
  DiskCache();
  /// In this folder; "" keeps nothing.
  explicit DiskCache(std::string folder) : folder_(std::move(folder)) {}

  bool keeps() const noexcept { return !folder_.empty(); }
  /// What was put under this key; nothing when there is none or the file is damaged.
  std::optional<std::string> get(const std::string& key) const;
  /// Whoever reads meanwhile sees the old entry or the new one, whole. A disk that is full or not writable only costs the time that the cache would have saved.
  void put(const std::string& key, const std::string& value) const noexcept;

 private:
  std::string file(const std::string& key) const;
  std::string folder_;
};

}  // namespace cf::cuda::gpu
