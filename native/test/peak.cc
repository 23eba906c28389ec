// What the processor can do at most, on one thread: vpdpbusd and fp32 FMA from registers, and reading memory.
//   g++ -O3 -march=native native/test/peak.cc -o /tmp/peak && /tmp/peak
#include <immintrin.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>

template <typename Work>
double least_seconds(int runs, Work work) {
  double least = 1e9;
  for (int i = 0; i < runs; i++) {
    const auto began = std::chrono::steady_clock::now();
    work();
    least = std::min(least, std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count());
  }
  return least;
}

int main() {
  constexpr int kLoops = 200000;
  volatile int sink = 0;
  // Sixteen accumulators by name: a compiler would keep an array of them in memory.
#define EACH(op)                                                                                                    \
  op " %%zmm30, %%zmm31, %%zmm0\n" op " %%zmm30, %%zmm31, %%zmm1\n" op " %%zmm30, %%zmm31, %%zmm2\n"                \
  op " %%zmm30, %%zmm31, %%zmm3\n" op " %%zmm30, %%zmm31, %%zmm4\n" op " %%zmm30, %%zmm31, %%zmm5\n"                \
  op " %%zmm30, %%zmm31, %%zmm6\n" op " %%zmm30, %%zmm31, %%zmm7\n" op " %%zmm30, %%zmm31, %%zmm8\n"                \
  op " %%zmm30, %%zmm31, %%zmm9\n" op " %%zmm30, %%zmm31, %%zmm10\n" op " %%zmm30, %%zmm31, %%zmm11\n"              \
  op " %%zmm30, %%zmm31, %%zmm12\n" op " %%zmm30, %%zmm31, %%zmm13\n" op " %%zmm30, %%zmm31, %%zmm14\n"            \
  op " %%zmm30, %%zmm31, %%zmm15\n"
#define USED "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11",       \
  "xmm12", "xmm13", "xmm14", "xmm15", "xmm30", "xmm31"
  const double vnni = least_seconds(20, [] {
    asm volatile("vpxord %%zmm30, %%zmm30, %%zmm30\nvpxord %%zmm31, %%zmm31, %%zmm31" ::: USED);
    for (int i = 0; i < kLoops; i++) asm volatile(EACH("vpdpbusd") ::: USED);
  });
  const double fma = least_seconds(20, [] {
    asm volatile("vpxord %%zmm30, %%zmm30, %%zmm30\nvpxord %%zmm31, %%zmm31, %%zmm31" ::: USED);
    for (int i = 0; i < kLoops; i++) asm volatile(EACH("vfmadd231ps") ::: USED);
  });
  std::printf("vnni %.1f GMAC/s, fma %.1f GMAC/s\n", 16.0 * kLoops * 64 / vnni / 1e9, 16.0 * kLoops * 16 / fma / 1e9);
  for (const size_t megabytes : {4, 8, 16, 64, 256}) {
    const size_t bytes = megabytes << 20;
    char* memory = static_cast<char*>(std::aligned_alloc(64, bytes));
    std::memset(memory, 1, bytes);
    const double seconds = least_seconds(20, [&] {
      __m512i sum[4] = {};
      for (size_t i = 0; i < bytes; i += 256)
        for (size_t j = 0; j < 4; j++) sum[j] = _mm512_add_epi8(sum[j], _mm512_load_si512(memory + i + 64 * j));
      for (auto& x : sum) sink = sink + _mm512_reduce_add_epi32(x);
    });
    std::printf("read %zu MiB: %.1f GB/s\n", megabytes, bytes / seconds / 1e9);
    std::free(memory);
  }
}
