// The whole test framework: CHECK(condition) and friends, and one line at the end.
#pragma once
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "common/error.h"

namespace check {

inline long& passed() {
  static long n = 0;
  return n;
}
inline long& failed() {
  static long n = 0;
  return n;
}

inline bool that(bool ok, const char* file, int line, const std::string& what) {
  if (ok) return ++passed(), true;
  if (++failed() <= 20) std::printf("%s:%d: %s\n", file, line, what.c_str());
  return false;
}

/// Prints the summary; the exit code of main.
inline int finish(const char* name) {
  if (failed()) std::printf("%s: %ld checks failed, %ld passed\n", name, failed(), passed());
  else std::printf("%s: %ld checks passed\n", name, passed());
  return failed() ? 1 : 0;
}

template <class Body>
bool throws(cf::Code code, const char* file, int line, const std::string& expected, Body&& body) {
  try {
    body();
  } catch (const cf::Error& e) {
    const bool said = std::string(e.what()).find(expected) != std::string::npos;
    return that(e.code() == code && said, file, line,
                "expected code " + std::to_string(static_cast<int>(code)) + " and \"" + expected + "\", found " + std::to_string(static_cast<int>(e.code())) + ": " + e.what());
  }
  return that(false, file, line, "expected an error saying \"" + expected + "\", found none");
}

}  // namespace check

#define CHECK(...) check::that((__VA_ARGS__), __FILE__, __LINE__, #__VA_ARGS__)
#define CHECK_NEAR(a, b, tolerance)                                                                                           \
  check::that(std::fabs((a) - (b)) <= (tolerance) || (std::isnan(a) && std::isnan(b)), __FILE__, __LINE__,                     \
              std::string(#a " near " #b ": ") + std::to_string(a) + " and " + std::to_string(b))
#define CHECK_THROWS(code, expected, ...) check::throws(code, __FILE__, __LINE__, expected, [&] { (void)(__VA_ARGS__); })
