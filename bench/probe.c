/*
 * What the processor can do at most: 8-bit dot products (vpdpbusd; tdpbusd where there is AMX) and float32 FMA from
 * registers on one thread, and reading memory on one and two threads. Prints JSON; probe.mjs compiles and runs it.
 *   cc -O3 -pthread probe.c -o probe && ./probe
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

#define REPEATS 15
#define LOOPS 100000
/* Accumulators: enough to hide the latency of the instruction. */
#define CHAINS 16

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec * 1e-9;
}

static double least(double (*work)(void)) {
  double best = 1e9;
  for (int i = 0; i < REPEATS; i++) {
    const double began = now();
    work();
    const double seconds = now() - began;
    if (seconds < best) best = seconds;
  }
  return best;
}

static volatile double sink;

/* Sums a stretch, 64-bit words in eight chains: the compiler's vectors, so it runs on any processor. */
struct stretch {
  const uint64_t *from;
  size_t words;
  uint64_t sum;
};

#if defined(__x86_64__)
__attribute__((target_clones("avx512f", "avx2", "default")))
#endif
static uint64_t add_up(const uint64_t *p, size_t words) {
  uint64_t s[32] = {0};
  for (size_t i = 0; i + 32 <= words; i += 32)
    for (int j = 0; j < 32; j++) s[j] += p[i + j];
  uint64_t all = 0;
  for (int j = 0; j < 32; j++) all += s[j];
  return all;
}

static void *read_stretch(void *argument) {
  struct stretch *s = argument;
  s->sum = add_up(s->from, s->words);
  return NULL;
}

static int ascending(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* In huge pages where there are such, as the engine's weights of that size are. */
static void *allocate(size_t bytes) {
  void *memory = aligned_alloc((size_t)2 << 20, bytes);
#if defined(__linux__)
  if (memory) madvise(memory, bytes, MADV_HUGEPAGE);
#endif
  return memory;
}

/* GB/s of reading `bytes` of memory over and over, on `threads` threads; the median, as memory is shared with neighbours. */
static double read_rate(size_t bytes, int threads) {
  uint64_t *memory = allocate(bytes);
  if (!memory) return 0;
  memset(memory, 1, bytes);
  double seconds[REPEATS];
  const size_t words = bytes / 8 / threads;
  for (int i = 0; i < REPEATS; i++) {
    struct stretch parts[2];
    pthread_t other;
    for (int t = 0; t < threads; t++) parts[t] = (struct stretch){memory + t * words, words, 0};
    const double began = now();
    if (threads == 2) pthread_create(&other, NULL, read_stretch, &parts[1]);
    read_stretch(&parts[0]);
    if (threads == 2) pthread_join(other, NULL);
    seconds[i] = now() - began;
    sink += (double)parts[0].sum;
  }
  free(memory);
  qsort(seconds, REPEATS, sizeof *seconds, ascending);
  return bytes / seconds[REPEATS / 2] / 1e9;
}

#if defined(__x86_64__)
#include <immintrin.h>

/* Every accumulator a variable of its own: an array here would live on the stack, and the loop would measure that. */
#define EACH(f) f(0) f(1) f(2) f(3) f(4) f(5) f(6) f(7) f(8) f(9) f(10) f(11) f(12) f(13) f(14) f(15)

__attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni"))) static double dots(void) {
  const __m512i a = _mm512_set1_epi32((int)sink + 3), b = _mm512_set1_epi32((int)sink + 5);
#define START(n) __m512i acc##n = a;
#define STEP(n) __asm__ volatile("vpdpbusd %2, %1, %0" : "+v"(acc##n) : "v"(a), "v"(b));
#define SUM(n) sink += _mm512_reduce_add_epi32(acc##n);
  EACH(START)
  for (int i = 0; i < LOOPS; i++) { EACH(STEP) }
  EACH(SUM)
#undef START
#undef STEP
#undef SUM
  return sink;
}

__attribute__((target("avx512f"))) static double wide_products(void) {
  const __m512 a = _mm512_set1_ps(1e-9f);
#define START(n) __m512 acc##n = a;
#define STEP(n) __asm__ volatile("vfmadd231ps %1, %1, %0" : "+v"(acc##n) : "v"(a));
#define SUM(n) sink += _mm512_reduce_add_ps(acc##n);
  EACH(START)
  for (int i = 0; i < LOOPS; i++) { EACH(STEP) }
  EACH(SUM)
#undef START
#undef STEP
#undef SUM
  return sink;
}

#if defined(__linux__) && (__GNUC__ >= 11 || __clang_major__ >= 12)
#define HAS_TILES 1
#include <sys/syscall.h>
#include <unistd.h>

static int may_use_tiles(void) { return __builtin_cpu_supports("amx-int8") && syscall(SYS_arch_prctl, 0x1023, 18) == 0; }

/* Four tiles of sums from two of inputs and two of weights; a product is of 16 x 16 x 64. */
__attribute__((target("amx-tile,amx-int8"))) static double tiles(void) {
  static const struct {
    uint8_t palette, start, reserved[14];
    uint16_t line_bytes[16];
    uint8_t lines[16];
  } shape = {1, 0, {0}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};
  _tile_loadconfig(&shape);
  for (int i = 0; i < LOOPS / 16; i++) {
    _tile_dpbusd(0, 4, 6);
    _tile_dpbusd(1, 4, 7);
    _tile_dpbusd(2, 5, 6);
    _tile_dpbusd(3, 5, 7);
  }
  _tile_release();
  return 0;
}
#endif

/* 14 accumulators: AVX2 has 16 registers. */
__attribute__((target("avx2,fma"))) static double products(void) {
  const __m256 a = _mm256_set1_ps(1e-9f);
#define EACH14(f) f(0) f(1) f(2) f(3) f(4) f(5) f(6) f(7) f(8) f(9) f(10) f(11) f(12) f(13)
#define START(n) __m256 acc##n = a;
#define STEP(n) __asm__ volatile("vfmadd231ps %1, %1, %0" : "+x"(acc##n) : "x"(a));
#define SUM(n) sink += acc##n[0];
  EACH14(START)
  for (int i = 0; i < LOOPS; i++) { EACH14(STEP) }
  EACH14(SUM)
  return sink;
}
#endif

int main(int argc, char **argv) {
  double vnni = 0, fma = 0, amx = 0;
#if defined(__x86_64__)
  const double instructions = (double)CHAINS * LOOPS / 1e9;
  if (__builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw")) vnni = 64 * instructions / least(dots);
  if (__builtin_cpu_supports("avx512f")) fma = 16 * instructions / least(wide_products);
  else if (__builtin_cpu_supports("fma")) fma = 8 * instructions * 14 / CHAINS / least(products);
#if defined(HAS_TILES)
  if (may_use_tiles()) amx = 4 * 16384.0 * (LOOPS / 16) / 1e9 / least(tiles);
#endif
#endif
  printf("{\"vnni\":%.2f,\"amx\":%.2f,\"fma\":%.2f,\"read\":[", vnni, amx, fma);
  const char *separator = "";
  for (int i = 1; i < argc; i++) {
    const size_t bytes = strtoull(argv[i], NULL, 10) & ~(((size_t)2 << 20) - 1);
    printf("%s{\"bytes\":%zu,\"one\":%.2f,\"two\":%.2f}", separator, bytes, read_rate(bytes, 1), read_rate(bytes, 2));
    separator = ",";
  }
  printf("]}\n");
  return 0;
}
