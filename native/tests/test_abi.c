/* What another runtime does: includes the header, links the library, runs each kernel alone and one whole program (C11). */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coopflow.h"

static int checks = 0;

static void check(int ok, const char* what) {
  ++checks;
  if (!ok) {
    fprintf(stderr, "test_abi: expected %s\n", what);
    exit(1);
  }
}

static void call(int32_t status, const cf_error* e) {
  ++checks;
  if (status != CF_OK) {
    fprintf(stderr, "test_abi: %s failed (%d): %s\n", e->op, (int)status, e->message);
    exit(1);
  }
}

static float value(uint32_t i, uint32_t salt) { return (float)((i * 2654435761u + salt * 40503u) >> 8) / 16777216.0f - 0.5f; }

static float* values(uint32_t n, uint32_t salt) {
  float* v = malloc(n * sizeof(float));
  for (uint32_t i = 0; i < n; ++i) v[i] = value(i, salt);
  return v;
}

static void test_conv(cf_context ctx, uint32_t ci, uint32_t co, uint32_t k, uint32_t stride, uint32_t padding) {
  enum { N = 2, H = 6, W = 5 };
  cf_error e;
  const uint32_t oh = (H + 2 * padding - k) / stride + 1, ow = (W + 2 * padding - k) / stride + 1;
  float *x = values(N * H * W * ci, 1), *w = values(co * ci * k * k, 2), *b = values(co, 3), *y = malloc(N * oh * ow * co * sizeof(float));
  call(cf_conv2d(ctx, x, N, H, W, ci, w, b, co, k, stride, padding, y, &e), &e);
  double worst = 0;
  for (uint32_t n = 0; n < N; ++n)
    for (uint32_t i = 0; i < oh; ++i)
      for (uint32_t j = 0; j < ow; ++j)
        for (uint32_t o = 0; o < co; ++o) {
          double sum = b[o];
          for (uint32_t r = 0; r < k; ++r)
            for (uint32_t s = 0; s < k; ++s) {
              const int yy = (int)(i * stride + r) - (int)padding, xx = (int)(j * stride + s) - (int)padding;
              if (yy < 0 || yy >= H || xx < 0 || xx >= W) continue;
              for (uint32_t c = 0; c < ci; ++c) sum += (double)x[((n * H + yy) * W + xx) * ci + c] * w[((o * ci + c) * k + r) * k + s];
            }
          const double d = fabs(sum - y[((n * oh + i) * ow + j) * co + o]);
          if (d > worst) worst = d;
        }
  check(worst < 1e-4, "a convolution within 1e-4 of the plain one");
  free(x), free(w), free(b), free(y);
}

static void test_coupling(cf_context ctx) {
  enum { N = 3, P = 8, C = 2, K = 4, G = C * (2 + 3 * K) };
  cf_error e;
  float *x = values(N * P * C, 4), *p = values(N * P * G, 5), *r = values(C, 6);
  float y[N * P * C], back[N * P * C], forward[N], inverse[N];
  call(cf_coupling_forward(ctx, x, p, r, N, P, C, K, y, forward, &e), &e);
  call(cf_coupling_inverse(ctx, y, p, r, N, P, C, K, back, inverse, &e), &e);
  for (int i = 0; i < N * P * C; ++i) check(fabsf(back[i] - x[i]) < 1e-4f, "the inverse of the coupling to give back x");
  for (int i = 0; i < N; ++i) check(fabsf(forward[i] + inverse[i]) < 1e-3f, "log-determinants that cancel");
  free(x), free(p), free(r);
}

static void test_uniforms(cf_context ctx) {
  enum { N = 1003 };
  cf_error e;
  float all[N], some[10], mean = 0;
  call(cf_uniforms(ctx, 7, 11, N, all, &e), &e);
  call(cf_uniforms(ctx, 7, 11, 10, some, &e), &e);
  for (int i = 0; i < N; ++i) check(all[i] >= 0 && all[i] < 1, "draws in [0, 1)"), mean += all[i] / N;
  for (int i = 0; i < 10; ++i) check(all[i] == some[i], "draws that do not depend on how many there are");
  check(fabsf(mean - 0.5f) < 0.05f, "draws around one half");
  check(cf_uniforms(ctx, 7, 11, N, NULL, &e) == CF_INVALID_ARGUMENT, "NULL to be refused");
}

static void test_langevin(cf_context ctx) {
  enum { N = 1000 };
  cf_error e;
  float *x = values(N, 7), *g = values(N, 8), *noise = values(N, 9), *out = malloc(N * sizeof(float));
  for (int with = 0; with < 2; ++with) {
    call(cf_langevin_update(ctx, x, g, with ? noise : NULL, N, 0.9f, 0.1f, -0.4f, 0.4f, out, &e), &e);
    for (int i = 0; i < N; ++i) {
      const float move = fminf(fmaxf(0.5f * 0.9f * 0.9f * g[i], -0.1f), 0.1f);
      const float want = fminf(fmaxf(x[i] + move + (with ? 0.9f * noise[i] : 0), -0.4f), 0.4f);
      check(fabsf(out[i] - want) < 1e-6f, "the Langevin step as its formula says");
    }
  }
  check(cf_langevin_update(ctx, x, g, NULL, N, 0.9f, 0.1f, 1.0f, -1.0f, out, &e) == CF_INVALID_ARGUMENT, "low above high to be refused");
  check(strstr(e.message, "low < high") != NULL, "a message that says so");
  free(x), free(g), free(noise), free(out);
}

/* A program file made by the TypeScript library: state w [4], feed x [4], fetch y = w*x, and w becomes w + 1. */
static void test_program(cf_context ctx, const char* path) {
  cf_error e;
  FILE* f = fopen(path, "rb");
  check(f != NULL, "the program file to open");
  static uint8_t bytes[1 << 20];
  const size_t n = fread(bytes, 1, sizeof bytes, f);
  fclose(f);
  const float w[4] = {1, 2, 3, 4}, x[4] = {10, 20, 30, 40};
  const uint32_t shape[1] = {4};
  float y[4];
  cf_program program;
  check(cf_program_load(ctx, bytes, n, 0, &program, &e) == CF_INVALID_ARGUMENT, "missing state to be named");
  check(strstr(e.message, "w") != NULL, "a message that names it");
  call(cf_state_set(ctx, "w", CF_F32, shape, 1, w, sizeof w, &e), &e);
  call(cf_program_load(ctx, bytes, n, 0, &program, &e), &e);
  for (int run = 0; run < 2; ++run) {
    call(cf_program_feed(program, 0, x, sizeof x, &e), &e);
    call(cf_program_run(program, &e), &e);
    call(cf_program_fetch(program, 0, y, sizeof y, &e), &e);
    for (int i = 0; i < 4; ++i) check(y[i] == (w[i] + (float)run) * x[i], "y = w x with the w of this run");
  }
  call(cf_program_destroy(program, &e), &e);
  check(cf_program_run(program, &e) == CF_INVALID_ARGUMENT, "a destroyed program to be refused");
  for (size_t i = 64; i < n; i += 97) {
    bytes[i] ^= 0x40;
    check(cf_program_load(ctx, bytes, n, 0, &program, &e) != CF_OK, "altered bytes to be refused");
    bytes[i] ^= 0x40;
  }
}

int main(int argc, char** argv) {
  cf_error e;
  cf_context ctx;
  check(cf_abi_version() == CF_ABI_VERSION, "header and library of one version");
  call(cf_context_create("cpu", 2, CF_ISA_BEST, 0, &ctx, &e), &e);
  test_conv(ctx, 3, 16, 3, 1, 1);
  test_conv(ctx, 16, 20, 3, 1, 1);
  test_conv(ctx, 5, 7, 4, 2, 1);
  test_conv(ctx, 8, 8, 1, 1, 0);
  test_coupling(ctx);
  test_uniforms(ctx);
  test_langevin(ctx);
  if (argc > 1) test_program(ctx, argv[1]);
  call(cf_context_destroy(ctx, &e), &e);
  check(cf_context_destroy(ctx, &e) == CF_INVALID_ARGUMENT, "a destroyed context to be refused");
  printf("test_abi: %d checks passed%s\n", checks, argc > 1 ? "" : " (no program file given)");
  return 0;
}
