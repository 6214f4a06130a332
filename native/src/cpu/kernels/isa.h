// Every file in this folder is compiled once per instruction set with CF_ISA naming the namespace; callers choose one when planning.
#pragma once
#include "cpu/kernel.h"

// Declares the same functions in each namespace: CF_DECLARE(void swish(const float*, float*, size_t);)
#if defined(CF_X86)
#define CF_DECLARE(...)              \
  namespace cf::cpu::avx512 {        \
  __VA_ARGS__                        \
  }                                  \
  namespace cf::cpu::avx2 {          \
  __VA_ARGS__                        \
  }                                  \
  namespace cf::cpu::portable {      \
  __VA_ARGS__                        \
  }
// Pointer to `fn` of the instruction set in use.
#define CF_PICK(isa, fn)                                        \
  ((isa) >= ::cf::cpu::Isa::avx512 ? &::cf::cpu::avx512::fn     \
   : (isa) == ::cf::cpu::Isa::avx2 ? &::cf::cpu::avx2::fn       \
                                   : &::cf::cpu::portable::fn)
#else
#define CF_DECLARE(...)         \
  namespace cf::cpu::portable { \
  __VA_ARGS__                   \
  }
#define CF_PICK(isa, fn) (&::cf::cpu::portable::fn)
#endif
