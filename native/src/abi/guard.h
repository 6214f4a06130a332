// The border: C++ exceptions on one side, status codes on the other.
#pragma once
#include <algorithm>
#include <cstring>
#include <new>
#include <string>

#include "common/error.h"
#include "coopflow.h"

namespace cf::abi {

/// Cuts where too long, never inside a UTF-8 character.
template <size_t N>
void copy_text(char (&to)[N], const char* from) noexcept {
  size_t n = std::strlen(from);
  if (n >= N) {
    n = N - 1;
    while (n > 0 && (static_cast<unsigned char>(from[n]) & 0xc0) == 0x80) --n;
  }
  std::memcpy(to, from, n);
  to[n] = 0;
}

inline int32_t fail(cf_error* err, Code code, const char* op, const char* message) noexcept {
  if (err) {
    err->code = static_cast<int32_t>(code);
    copy_text(err->op, op);
    copy_text(err->message, message);
  }
  return static_cast<int32_t>(code);
}

/// Runs `body` and turns whatever it throws into a status.
template <class Body>
int32_t guarded(const char* op, cf_error* err, Body&& body) noexcept {
  try {
    body();
    return CF_OK;
  } catch (const Error& e) {
    return fail(err, e.code(), e.op().empty() ? op : e.op().c_str(), e.what());
  } catch (const std::bad_alloc&) {
    return fail(err, Code::out_of_memory, op, "not enough memory");
  } catch (const std::exception& e) {
    return fail(err, Code::internal, op, e.what());
  } catch (...) {
    return fail(err, Code::internal, op, "an unknown exception");
  }
}

inline void require(bool ok, const char* op, const std::string& message) {
  if (!ok) throw Error(Code::invalid_argument, op, message);
}

/// A name from outside, at most 4096 bytes.
inline std::string name_argument(const char* name, const char* op) {
  require(name != nullptr, op, "the name is NULL");
  const size_t n = strnlen(name, 4097);
  require(n > 0 && n <= 4096, op, "expected a name of 1 to 4096 bytes, found " + std::string(n ? "a longer one" : "an empty one"));
  return std::string(name, n);
}

inline void give_text(const std::string& text, char* out, uint64_t len, uint64_t* needed, const char* op) {
  if (needed) *needed = text.size() + 1;
  if (!out || len == 0) return;
  require(len > text.size(), op, "the buffer has " + std::to_string(len) + " bytes, needed are " + std::to_string(text.size() + 1));
  std::memcpy(out, text.c_str(), text.size() + 1);
}

}  // namespace cf::abi
