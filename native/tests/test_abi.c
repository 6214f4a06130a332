/* The ABI from C11, as another runtime uses it: a program built by hand (y = x * x over 4 numbers), loaded, fed, run and read. */
#include <stdio.h>
#include <string.h>

#include "coopflow.h"

static int failures = 0;

static void check(int ok, const char* what) {
  if (ok) return;
  ++failures;
  printf("test_abi: %s\n", what);
}

static uint32_t crc32(const unsigned char* p, size_t n) {
  uint32_t c = ~0u;
  for (; n; --n) {
    c ^= *p++;
    for (int k = 0; k < 8; ++k) c = c & 1 ? 0xedb88320u ^ (c >> 1) : c >> 1;
  }
  return ~c;
}

/* The op table's hash is the library's own: a C host gets its programs from a file and never writes this. */
static uint64_t op_table(void) {
  char info[1024];
  unsigned long long hash = 0;
  check(cf_build_info(info, sizeof info, NULL, NULL) == CF_OK, "cf_build_info fails");
  const char* at = strstr(info, "\"op_table\":\"");
  check(at != NULL && sscanf(at + 12, "%16llx", &hash) == 1, "cf_build_info names no op table");
  return hash;
}

int main(void) {
  uint32_t w[16 * 6] = {0};
  const uint64_t hash = op_table();
  const uint32_t header[16] = {0x50464f43u, CF_ABI_VERSION, (uint32_t)hash, (uint32_t)(hash >> 32), 0, sizeof w, 0, 3, 2, 2, 1, 15, 1, 0, 0, 0};
  const uint32_t names[4] = {6, 1, 1, 0x61757173u}; /* "square", "x", "y": "squa" */
  const uint32_t buffers[18] = {1, 0, 0, 0, 16, 0, 2, 1, 4, 2, 0, 0, 0, 16, 0, 3, 1, 4};
  const uint32_t code[15] = {1, 15, 0, 1, 1, 7, 0, 1, 0, 1, 3, 0, 0, 0, 1};
  memcpy(w, header, sizeof header);
  memcpy(w + 16, names, sizeof names);
  memcpy(w + 20, "rexy", 4);
  memcpy(w + 32, buffers, sizeof buffers);
  /* Buffers end at word 50 and are padded to 64; two tensors of 20 words follow. */
  uint32_t big[16 * 8] = {0};
  memcpy(big, w, 64 * 4);
  for (uint32_t t = 0; t < 2; ++t) {
    uint32_t* const tensor = big + 64 + 20 * t;
    tensor[0] = t;
    tensor[2] = 1;
    tensor[5] = 4;
    tensor[11] = 1;
  }
  memcpy(big + 112, code, sizeof code);
  big[5] = sizeof big;
  big[4] = crc32((const unsigned char*)(big + 16), sizeof big - 64);

  cf_error err;
  memset(&err, 0, sizeof err);
  cf_context ctx = 0;
  cf_program program = 0;
  const float x[4] = {1, -2, 3, 0.5f};
  float y[4] = {0, 0, 0, 0};
  check(cf_abi_version() == CF_ABI_VERSION, "another ABI version");
  check(cf_context_create("cpu", 0, CF_ISA_BEST, 0, &ctx, &err) == CF_OK, err.message);
  check(cf_program_load(ctx, big, sizeof big, 0, &program, &err) == CF_OK, err.message);
  check(cf_program_feed(program, 0, x, sizeof x, &err) == CF_OK, err.message);
  check(cf_program_run(program, &err) == CF_OK, err.message);
  check(cf_program_fetch(program, 0, y, sizeof y, &err) == CF_OK, err.message);
  for (int i = 0; i < 4; ++i) check(y[i] == x[i] * x[i], "a wrong result");
  check(cf_program_load(ctx, big, sizeof big - 64, 0, &program, &err) == CF_INVALID_PROGRAM && err.code == CF_INVALID_PROGRAM && err.message[0],
        "a truncated program is accepted");
  check(cf_context_destroy(ctx, &err) == CF_OK, err.message);
  check(cf_context_destroy(ctx, &err) == CF_INVALID_ARGUMENT, "a stale handle is accepted");
  if (failures == 0) printf("test_abi: all checks passed\n");
  return failures != 0;
}
