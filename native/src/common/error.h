// The one exception type inside the library. It never crosses the C ABI: src/abi turns it into a cf_error.
#pragma once
#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>

namespace cf {

/// Status codes of the C ABI (cf_status in coopflow.h has the same values).
enum class Code : int32_t {
  ok = 0,
  invalid_argument = 1,  ///< a bad handle, size, name or option
  invalid_program = 2,   ///< the loader refused the program
  version_mismatch = 3,  ///< the program was built for another library
  out_of_memory = 4,
  cancelled = 5,
  unsupported = 6,  ///< a shape or device this build cannot run
  internal = 7,
};

class Error : public std::runtime_error {
 public:
  Error(Code code, std::string op, const std::string& message)
      : std::runtime_error(message), code_(code), op_(std::move(op)) {}
  Code code() const noexcept { return code_; }
  const std::string& op() const noexcept { return op_; }

 private:
  Code code_;
  std::string op_;
};

}  // namespace cf
