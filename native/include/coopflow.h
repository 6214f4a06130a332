/* coopflow: the C ABI.
 *
 * A context owns a device's threads, its named state (parameters, optimizer state, counters) and its memory. A program, compiled by the
 * TypeScript library and stored as bytes, is loaded into a context and run whole. Sampling from a frozen model takes four calls after
 * cf_context_create: cf_program_load, cf_program_feed, cf_program_run, cf_program_fetch.
 *
 * Conventions
 *  - Every function returns a cf_status. On failure it fills *err where err is not NULL; on success it leaves *err alone.
 *  - Nothing is thread-local and no exception crosses the boundary. Any function may be called from any thread.
 *  - Handles are numbers that are never used twice: a stale or invented one gives CF_INVALID_ARGUMENT, not a crash.
 *  - Functions that give text write UTF-8 with a closing zero into the caller's buffer. *needed (where not NULL) becomes the bytes
 *    needed, zero included. With out = NULL or len = 0 they only tell the size; with a buffer that is too small they fail.
 *  - Shapes are outermost first; data is dense, row-major, four bytes an element, in the machine's byte order.
 *
 * Later versions may add functions and flags; CF_ABI_VERSION changes when something existing does.
 */
#ifndef COOPFLOW_H
#define COOPFLOW_H

#include <stdint.h>

#if defined(_WIN32)
#define CF_API __declspec(dllexport)
#else
#define CF_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
#define CF_NOEXCEPT noexcept
extern "C" {
#else
#define CF_NOEXCEPT
#endif

#define CF_ABI_VERSION 1
#define CF_VERSION "0.1.0"

enum cf_status {
  CF_OK = 0,
  CF_INVALID_ARGUMENT = 1, /* a bad handle, size, name or option */
  CF_INVALID_PROGRAM = 2,  /* the loader refused the program */
  CF_VERSION_MISMATCH = 3, /* the program was built for another library */
  CF_OUT_OF_MEMORY = 4,
  CF_CANCELLED = 5,
  CF_UNSUPPORTED = 6, /* a shape or device that this build cannot run */
  CF_INTERNAL = 7
};

enum cf_dtype { CF_F32 = 0, CF_U32 = 1 };

enum cf_isa { CF_ISA_BEST = -1, CF_ISA_PORTABLE = 0, CF_ISA_AVX2 = 1, CF_ISA_AVX512 = 2, CF_ISA_AMX = 3 };

enum cf_context_flags {
  CF_NO_WINOGRAD = 1u, /* for tools that compare convolution algorithms: programs that ask for Winograd are refused */
  CF_TF32 = 2u,        /* CUDA: products and convolutions in TF32 instead of exact float32; implies CF_NO_WINOGRAD */
  CF_BF16 = 4u         /* CUDA: products and convolutions in bfloat16, their sums and all else in float32; implies CF_NO_WINOGRAD */
};

enum cf_load_flags {
  CF_CREATE_MISSING_STATE = 1u /* state that the context lacks is created, filled with zeros */
};

typedef uint64_t cf_context; /* 0 is never a handle */
typedef uint64_t cf_program;

typedef struct cf_error {
  int32_t code;      /* cf_status */
  char op[32];       /* the op or function that failed */
  char message[512]; /* UTF-8, closed by a zero, cut where too long */
} cf_error;

/* CF_ABI_VERSION of the library in use: compare it with the header's before anything else. */
CF_API uint32_t cf_abi_version(void) CF_NOEXCEPT;

/* JSON: {"version","abi","op_table" (hex text),"onednn","compiler","isa":[…what this machine can run, best first]}. */
CF_API int32_t cf_build_info(char* out, uint64_t len, uint64_t* needed, cf_error* err) CF_NOEXCEPT;

/* ---- contexts ------------------------------------------------------------------------------------------------------------------- */

/* device: "cpu", or "cuda" or "cuda:n" where libcoopflow_cuda lies beside this library (CF_UNSUPPORTED says what is missing). threads and isa are
 * the CPU's: 0 = one per physical core that this process may use. isa: a cf_isa; with CF_ISA_BEST the environment variable
 * COOPFLOW_ISA (avx512, amx, avx2 or portable) decides where it is set. An instruction set that the machine lacks is CF_UNSUPPORTED. */
CF_API int32_t cf_context_create(const char* device, int32_t threads, int32_t isa, uint32_t flags, cf_context* out, cf_error* err) CF_NOEXCEPT;

/* Cancels what runs, waits for it, and frees state and programs; their handles die with it. */
CF_API int32_t cf_context_destroy(cf_context ctx, cf_error* err) CF_NOEXCEPT;

/* JSON: {"device","detail" (for people),"threads","isa","winograd","arena_bytes","scratch_bytes","state_bytes","device_peak_bytes","device_free_bytes",
 * "device_bytes" (0 where memory is the host's),"refused_bytes" (what the last program needed for which memory was too small),"programs"}. winograd: whether programs may ask for Winograd's algorithm. */
CF_API int32_t cf_context_info(cf_context ctx, char* out, uint64_t len, uint64_t* needed, cf_error* err) CF_NOEXCEPT;

/* Asks the run in progress and those that wait to stop. They return CF_CANCELLED with all state as it was, except that a run which has
 * reached its commit finishes and returns CF_OK. Returns at once. */
CF_API int32_t cf_context_cancel(cf_context ctx, cf_error* err) CF_NOEXCEPT;

/* out[0] serial number of the current or last run (from 1; 0 before the first), [1] instructions done, repeats counted, [2] instructions
 * in all, [3] 1 once the commit is reached. Takes no lock: made for polling. */
CF_API int32_t cf_context_progress(cf_context ctx, uint64_t out[4], cf_error* err) CF_NOEXCEPT;

/* ---- state ---------------------------------------------------------------------------------------------------------------------- */

/* Creates or overwrites; with data = NULL by zeros. A tensor that a loaded program uses keeps its shape: another one is refused. Refused while a
 * run is in progress. */
CF_API int32_t cf_state_set(cf_context ctx, const char* name, uint32_t dtype, const uint32_t* shape, uint32_t rank, const void* data,
                            uint64_t bytes, cf_error* err) CF_NOEXCEPT;

/* Copies out; bytes must be the tensor's size. During a run it gives the values from before, or waits for a commit to end. */
CF_API int32_t cf_state_get(cf_context ctx, const char* name, void* data, uint64_t bytes, cf_error* err) CF_NOEXCEPT;

/* Refused while a loaded program uses the tensor. */
CF_API int32_t cf_state_remove(cf_context ctx, const char* name, cf_error* err) CF_NOEXCEPT;

/* JSON: [{"name","dtype" ("f32"|"u32"),"shape":[…],"bytes"}…], sorted by name. */
CF_API int32_t cf_state_list(cf_context ctx, char* out, uint64_t len, uint64_t* needed, cf_error* err) CF_NOEXCEPT;

/* ---- programs ------------------------------------------------------------------------------------------------------------------- */

/* Checks and copies the bytes, binds state by name, prepares every kernel, and grows the context's memory where needed. */
CF_API int32_t cf_program_load(cf_context ctx, const void* bytes, uint64_t n, uint32_t flags, cf_program* out, cf_error* err) CF_NOEXCEPT;

/* Cancels the program's runs, waits for them, and frees it. */
CF_API int32_t cf_program_destroy(cf_program program, cf_error* err) CF_NOEXCEPT;

/* JSON: {"instructions","steps" (with repeats),"commit","arena_bytes","scratch_bytes","constant_bytes","flops" (of one run),
 * "states":[{"name","dtype","shape"}…],"feeds":[{"index","name","dtype","shape","bytes"}…],"fetches":[likewise]}. */
CF_API int32_t cf_program_info(cf_program program, char* out, uint64_t len, uint64_t* needed, cf_error* err) CF_NOEXCEPT;

/* Copies a feed in, or a fetch out; index as in cf_program_info. Refused while the program runs or waits to run. */
CF_API int32_t cf_program_feed(cf_program program, uint32_t index, const void* data, uint64_t bytes, cf_error* err) CF_NOEXCEPT;
CF_API int32_t cf_program_fetch(cf_program program, uint32_t index, void* data, uint64_t bytes, cf_error* err) CF_NOEXCEPT;

/* Runs the program on the context's worker and waits. Runs of one context queue. Call it off the event loop: it blocks. */
CF_API int32_t cf_program_run(cf_program program, cf_error* err) CF_NOEXCEPT;

/* enable 1: start measuring from zero; 0: stop. This and the two below are refused while the program runs or waits to run. */
CF_API int32_t cf_program_profile(cf_program program, uint32_t enable, cf_error* err) CF_NOEXCEPT;

/* JSON: [{"index","op","name","calls","seconds","flops","bytes" (both of one call; bytes: operands read and results written)}…], in program order. */
CF_API int32_t cf_program_profile_report(cf_program program, char* out, uint64_t len, uint64_t* needed, cf_error* err) CF_NOEXCEPT;

/* What ran since profiling began, in order, the first 262144 executions. Three numbers each: the instruction's index, its begin and its duration, both
 * in nanoseconds, the begin since profiling began. *count becomes how many there are; out (NULL: none) receives at most `capacity` of them. */
CF_API int32_t cf_program_profile_events(cf_program program, uint64_t* out, uint64_t capacity, uint64_t* count, cf_error* err) CF_NOEXCEPT;

/* enable 1: the runs from now on look at what each instruction writes, until one writes a float32 that is NaN or infinite; 0: stop. A run that is
 * looked at takes up to twice as long. Both are refused while the program runs or waits to run; CF_UNSUPPORTED where the device can't. */
CF_API int32_t cf_program_watch(cf_program program, uint32_t enable, cf_error* err) CF_NOEXCEPT;

/* JSON: null, or the first such value since watching began: {"index","op","name" (of the instruction),"loops" (the iteration of each repeat around
 * it, outermost first),"value" ("NaN"|"Infinity"|"-Infinity")}. */
CF_API int32_t cf_program_watch_report(cf_program program, char* out, uint64_t len, uint64_t* needed, cf_error* err) CF_NOEXCEPT;

/* ---- kernels alone -----------------------------------------------------------------------------------------------------------------
 * For runtimes that have models of their own. Each call runs on the context's worker, threads and instruction set. What a shape needs is
 * prepared at its first call and kept (for the last 64 shapes). Pointers are read and written during the call only. */

/* y[n,h',w',o] = bias[o] + sum x[n, h*stride+r-padding, w*stride+s-padding, i] * weight[o,i,r,s]. x: [n,height,width,channels_in] (NHWC);
 * weight: [channels_out,channels_in,kernel,kernel]; bias: [channels_out] or NULL; y: [n,h',w',channels_out], h' = (height+2*padding-kernel)/stride+1.
 * 3x3 kernels with stride 1 and padding 1 use Winograd's algorithm where both channel counts are at least 16. */
CF_API int32_t cf_conv2d(cf_context ctx, const float* x, uint32_t n, uint32_t height, uint32_t width, uint32_t channels_in, const float* weight,
                         const float* bias, uint32_t channels_out, uint32_t kernel, uint32_t stride, uint32_t padding, float* y, cf_error* err) CF_NOEXCEPT;

/* Mixture-of-logistics coupling of Flow++ (Ho et al. 2019). x, y: [n,pixels,channels]; params: [n,pixels,channels*(2+3*components)], the coupling
 * network's output in groups of `channels`: log-scale | shift | logits | means | log-scales; rescale: [channels]; logdet: [n].
 * forward: data to latent, y = (logit F(x) + shift) * exp(rescale*tanh(log-scale)). inverse: latent to data; logdet is that of the inverse. */
CF_API int32_t cf_coupling_forward(cf_context ctx, const float* x, const float* params, const float* rescale, uint32_t n, uint32_t pixels,
                                   uint32_t channels, uint32_t components, float* y, float* logdet, cf_error* err) CF_NOEXCEPT;
CF_API int32_t cf_coupling_inverse(cf_context ctx, const float* y, const float* params, const float* rescale, uint32_t n, uint32_t pixels,
                                   uint32_t channels, uint32_t components, float* x, float* logdet, cf_error* err) CF_NOEXCEPT;

/* One Langevin step for `count` values: clamp(x + clamp(step_size^2/2 * gradient, -move_clamp, move_clamp) + step_size*noise, low, high).
 * noise: standard normal draws, or NULL for none. move_clamp, low, high: +-INFINITY for none. out may be x. */
CF_API int32_t cf_langevin_update(cf_context ctx, const float* x, const float* gradient, const float* noise, uint32_t count, float step_size,
                                  float move_clamp, float low, float high, float* out, cf_error* err) CF_NOEXCEPT;

/* The uniform draws [0, 1) that the op `random` makes for elements 0 ... count-1 of sample 0 in iteration 0, outside loops; stream is the 32-bit
 * FNV-1a hash of the draw's name. Runs on the calling thread. */
CF_API int32_t cf_uniforms(cf_context ctx, uint32_t seed, uint32_t stream, uint32_t count, float* out, cf_error* err) CF_NOEXCEPT;

#ifdef __cplusplus
}
#endif

#endif
