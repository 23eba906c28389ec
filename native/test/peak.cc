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
  const double vnni = least_seconds(20, [&] {
    __m512i acc[16], a = _mm512_set1_epi32(sink + 3), b = _mm512_set1_epi32(sink + 5);
    for (auto& x : acc) x = a;
    for (int i = 0; i < kLoops; i++)
      for (auto& x : acc) { x = _mm512_dpbusd_epi32(x, a, b); asm volatile("" : "+v"(x)); }
    for (auto& x : acc) sink = sink + _mm512_reduce_add_epi32(x);
  });
  const double fma = least_seconds(20, [&] {
    __m512 acc[16], a = _mm512_set1_ps(1e-9f), b = _mm512_set1_ps(1e-9f);
    for (auto& x : acc) x = a;
    for (int i = 0; i < kLoops; i++)
      for (auto& x : acc) { x = _mm512_fmadd_ps(a, b, x); asm volatile("" : "+v"(x)); }
    for (auto& x : acc) sink = sink + static_cast<int>(_mm512_reduce_add_ps(x));
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
