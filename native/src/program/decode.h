// From bytes to a Program. Nothing in a Program that `decode` returns needs to be checked again, except what only an op's own factory knows.
#pragma once
#include <cstddef>
#include <cstdint>

#include "program/program.h"

namespace cf {

constexpr uint32_t kProgramMagic = 0x50464f43;  ///< "COFP"
constexpr uint64_t kMaxBytes = 1ull << 46;      ///< of one buffer or arena: what a 64-bit process could map, and far from overflow
constexpr uint64_t kMaxSteps = 1ull << 48;      ///< instructions in one run, repeats included

/// Decodes and validates everything native/README.md lists. Never reads outside [bytes, bytes + n).
/// Throws Error{invalid_program} (naming op and layer where there is one) or Error{version_mismatch}.
Program decode(const uint8_t* bytes, size_t n);

/// The half of `decode` that looks at meaning rather than at bytes: op codes, nesting of repeats, ranges of every operand, who may be written when.
void validate(const Program& program);

/// How many kernels one run executes, repeats included (validated programs only).
uint64_t count_steps(const Program& program);

/// CRC-32 with zlib's polynomial, going on from the checksum `before` of what came before.
uint32_t crc32(const uint8_t* bytes, size_t n, uint32_t before = 0) noexcept;

/// Checksum of a whole program of at least 64 bytes: the CRC-32 of all of it, the checksum's own word taken as 0.
uint32_t program_checksum(const uint8_t* bytes, size_t n) noexcept;

const char* op_name(Op op) noexcept;

}  // namespace cf
