// Whether exact integer Winograd F(2×2, 3×3) beats the engine's direct 3×3 convolution on AVX-512 VNNI. One thread.
//   F="-std=c++20 -O3 -march=native -ffp-contract=off -Inative"
//   g++ $F native/test/winograd.cc native/kernels_avx512vnni.cc -o /tmp/winograd && taskset -c 1 /tmp/winograd
// Weights are transformed by 2G, (2g0, g0+g1+g2, g0-g1+g2, 2g2) per axis, so that sums come out times 4, which goes
// into bias and multiplier exactly. Inputs BᵀdB of a-bit codes lie within ±2·top (0…4·top at position 1,1), top =
// 2^a - 1: bytes after adding 2·top while a <= 6. Weights of b bits have at most nine terms: within ±9·2^(b-1), b <= 4
// (-72…67; five bits reach -144).
#include <immintrin.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <vector>

#include "kernels.h"
#include "packing.h"

using namespace bitdial;
using V = __m512i;
namespace {
template <typename T> T* room(size_t n) {
  void* p = std::aligned_alloc(64, (n * sizeof(T) + 4 * kSlack) / 64 * 64);
  std::memset(p, 0, n * sizeof(T) + 2 * kSlack);
  return static_cast<T*>(p);
}
inline V load(const void* p) { return _mm512_loadu_si512(p); }
struct Layer {
  size_t side, c, batch, rows, tiles, pixels;
  int bits, in_bits;
  uint8_t *padded, *packed, *kept, *in, *got, *want;
  int8_t *codes, *resident, *fly;
  int32_t *bias, *bias4, *m, *sums;
  float *multipliers, *quarter, *want_floats;
  std::vector<uint32_t> at, runs;
  size_t pitch() const { return (side + 2) * c; }
  /** Bytes from a position's weights to the next; a power of two would put all 16 into one set of the cache. */
  size_t step() const { return 16 * c + 64; }
  /** Where tile t's patch begins in the padded input, and its first pixel in the output. */
  size_t patch(size_t t) const {
    const size_t n = side / 2, y = t / n % n, x = t % n;
    return t / (n * n) * (side + 2) * pitch() + 2 * y * pitch() + 2 * x * c;
  }
  size_t pixel(size_t t) const {
    const size_t n = side / 2;
    return t / (n * n) * side * side + 2 * (t / n % n) * side + 2 * (t % n);
  }
};
/** in: [8 tiles][position][tile of 8][channel] */
void transform_inputs(const Layer& l) {
  const V offset = _mm512_set1_epi8(static_cast<char>(2 * ((1 << l.in_bits) - 1)));
  for (size_t t = 0; t < l.tiles; t++) {
    const uint8_t* from = l.padded + l.patch(t);
    uint8_t* to = l.in + (t / 8 * 128 + t % 8) * l.c;
    for (size_t c = 0; c < l.c; c += 64) {
      V x[4][4];
      for (size_t j = 0; j < 4; j++) {
        const uint8_t* q = from + j * l.c + c;
        const V a = load(q), b = load(q + l.pitch()), d = load(q + 2 * l.pitch()), e = load(q + 3 * l.pitch());
        x[0][j] = _mm512_sub_epi8(a, d), x[1][j] = _mm512_add_epi8(b, d);
        x[2][j] = _mm512_sub_epi8(d, b), x[3][j] = _mm512_sub_epi8(b, e);
      }
      for (size_t i = 0; i < 4; i++) {
        const V* r = x[i];
        const V y[4] = {_mm512_sub_epi8(r[0], r[2]), _mm512_add_epi8(r[1], r[2]), _mm512_sub_epi8(r[2], r[1]),
                        _mm512_sub_epi8(r[1], r[3])};
        for (size_t j = 0; j < 4; j++) {
          _mm512_storeu_si512(to + (i * 4 + j) * 8 * l.c + c, i * j == 1 ? y[j] : _mm512_add_epi8(y[j], offset));
        }
      }
    }
  }
}
/** `blocks` blocks from `block` on, [block][position][group][64], of packed codes. */
void transform_weights(const Layer& l, size_t block, size_t blocks, int8_t* out) {
  const size_t bits = static_cast<size_t>(l.bits), groups = l.c / 4;
  alignas(64) uint8_t from[64], shift[64];
  for (size_t i = 0; i < 64; i++) {
    from[i] = static_cast<uint8_t>((i / 8 * bits + i % 8) & 63);
    shift[i] = static_cast<uint8_t>(i % 8 * bits);
  }
  const V bytes = load(from), shifts = load(shift), mask = _mm512_set1_epi8(static_cast<char>((1 << bits) - 1));
  const V offset = _mm512_set1_epi8(static_cast<char>(1 << (bits - 1)));
  const auto axis = [](V a, V b, V c, V* to) {
    const V s = _mm512_add_epi8(a, c);
    to[0] = _mm512_add_epi8(a, a), to[1] = _mm512_add_epi8(s, b), to[2] = _mm512_sub_epi8(s, b);
    to[3] = _mm512_add_epi8(c, c);
  };
  for (size_t b = 0; b < blocks; b++, out += 16 * l.step()) {
    for (size_t g = 0; g < groups; g++) {
      V columns[3][4];
      for (size_t x = 0; x < 3; x++) {
        V w[3];
        for (size_t y = 0; y < 3; y++) {
          const V q = load(l.packed + (((block + b) * 9 + y * 3 + x) * groups + g) * 8 * bits);
          const V u = _mm512_multishift_epi64_epi8(shifts, _mm512_permutexvar_epi8(bytes, q));
          w[y] = _mm512_sub_epi8(_mm512_and_si512(u, mask), offset);
        }
        axis(w[0], w[1], w[2], columns[x]);
      }
      for (size_t i = 0; i < 4; i++) {
        V r[4];
        axis(columns[0][i], columns[1][i], columns[2][i], r);
        for (size_t j = 0; j < 4; j++) _mm512_store_si512(out + (i * 4 + j) * l.step() + g * 64, r[j]);
      }
    }
  }
}
/** Sixteen products of P tiles × NB blocks; m: [position][P][NB * 16] */
template <int P, int NB> void multiply(const Layer& l, size_t tile, const int8_t* weights) {
  for (size_t s = 0; s < 16; s++) {
    V acc[P][NB];
    for (auto& line : acc) for (V& a : line) a = _mm512_setzero_si512();
    const uint8_t* a = l.in + (tile / 8 * 128 + s * 8 + tile % 8) * l.c;
    const int8_t* w = weights + s * l.step();
    for (size_t k = 0; k < l.c; k += 4, w += 64) {
      V v[NB];
      for (size_t b = 0; b < NB; b++) v[b] = load(w + b * 16 * l.step());
      for (size_t i = 0; i < P; i++) {
        int32_t four;
        std::memcpy(&four, a + i * l.c + k, 4);
        for (size_t b = 0; b < NB; b++) acc[i][b] = _mm512_dpbusd_epi32(acc[i][b], _mm512_set1_epi32(four), v[b]);
      }
    }
    for (size_t i = 0; i < P * NB; i++) _mm512_store_si512(l.m + (s * P * NB + i) * 16, acc[i / NB][i % NB]);
  }
}
template <int P, int NB> void transform_outputs(const Layer& l, size_t tile, size_t row) {
  const __m512 low = _mm512_set1_ps(0), high = _mm512_set1_ps(255);
  for (size_t i = 0; i < P; i++) {
    uint8_t* to = l.got + l.pixel(tile + i) * l.rows + row;
    for (size_t b = 0; b < NB; b++, to += 16) {
      V x[2][4];
      for (size_t j = 0; j < 4; j++) {
        const auto m = [&](size_t r) { return load(l.m + (((r * 4 + j) * P + i) * NB + b) * 16); };
        const V one = m(1), two = m(2);
        x[0][j] = _mm512_add_epi32(_mm512_add_epi32(m(0), one), two);
        x[1][j] = _mm512_sub_epi32(_mm512_sub_epi32(one, two), m(3));
      }
      for (size_t y = 0; y < 2; y++) {
        const V sums[2] = {_mm512_add_epi32(_mm512_add_epi32(x[y][0], x[y][1]), x[y][2]),
                           _mm512_sub_epi32(_mm512_sub_epi32(x[y][1], x[y][2]), x[y][3])};
        for (size_t z = 0; z < 2; z++) {
          const V sum = _mm512_add_epi32(sums[z], load(l.bias4 + (y * 2 + z) * l.rows + row + b * 16));
          if (l.sums) _mm512_storeu_si512(l.sums + (to - l.got) + (y * l.side + z) * l.rows, sum);
          const __m512 v = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), _mm512_loadu_ps(l.quarter + row + b * 16));
          const V q = _mm512_cvtps_epi32(_mm512_min_ps(_mm512_max_ps(v, low), high));
          _mm_storeu_si128(reinterpret_cast<__m128i*>(to + (y * l.side + z) * l.rows), _mm512_cvtepi32_epi8(q));
        }
      }
    }
  }
}
enum { kIn = 1, kMultiply = 2, kOut = 4, kFly = 8 };
template <int P, int NB> void products(const Layer& l, int what) {
  for (size_t row = 0; row < l.rows; row += NB * 16) {
    if (what & kFly) transform_weights(l, row / 16, NB, l.fly);
    for (size_t t = 0; t < l.tiles; t += P) {
      if (what & kMultiply) multiply<P, NB>(l, t, what & kFly ? l.fly : l.resident + row * l.step());
      if (what & kOut) transform_outputs<P, NB>(l, t, row);
    }
  }
}
void winograd(const Layer& l, int what) {
  if (what & kIn) transform_inputs(l);
  l.tiles % 8 == 0 ? products<8, 2>(l, what) : products<4, 4>(l, what);
}
void direct(const Layer& l, bool packed) {
  Product p = {};
  p.a = l.padded, p.pixels = l.at.data(), p.count = l.pixels, p.runs = l.runs.data(), p.run_count = 3;
  p.run_groups = 3 * l.c / 4, p.rows = l.rows, p.unpacked = l.kept, p.bits = packed ? l.bits : 8;
  p.weights = packed ? l.packed : reinterpret_cast<uint8_t*>(l.codes);
  p.block_bytes = 18 * l.c * static_cast<size_t>(p.bits);
  p.epilogue.bias = l.bias, p.epilogue.multipliers = l.multipliers, p.epilogue.pitch = l.rows;
  p.epilogue.high = 255, p.epilogue.codes = l.want;
  avx512_vnni_kernels()->product(p);
  if (!l.sums) return;
  const std::vector<float> ones(l.rows, 1.0f);
  p.epilogue.multipliers = ones.data(), p.epilogue.low = -1e9f, p.epilogue.high = 1e9f;
  p.epilogue.codes = nullptr, p.epilogue.floats = l.want_floats;
  avx512_vnni_kernels()->product(p);
}
Layer make(size_t side, size_t c, size_t batch, int bits, int in_bits, bool extreme) {
  Layer l = {side, c, batch, c, batch * side * side / 4, batch * side * side, bits, in_bits};
  std::mt19937 bit(7);
  const size_t n = 9 * c * c, groups = c / 4;
  l.padded = room<uint8_t>(batch * (side + 2) * l.pitch()), l.packed = room<uint8_t>(n), l.kept = room<uint8_t>(288 * c);
  l.in = room<uint8_t>((l.tiles + 7) / 8 * 128 * c), l.got = room<uint8_t>(l.pixels * c), l.want = room<uint8_t>(l.pixels * c);
  l.codes = room<int8_t>(n), l.resident = room<int8_t>(c * l.step()), l.fly = room<int8_t>(64 * l.step());
  l.sums = nullptr, l.want_floats = room<float>(l.pixels * c);
  l.bias = room<int32_t>(c), l.bias4 = room<int32_t>(4 * c), l.m = room<int32_t>(16 * 8 * 32);
  l.multipliers = room<float>(c), l.quarter = room<float>(c);
  const int half = 1 << (bits - 1), top = (1 << in_bits) - 1;
  for (size_t i = 0; i < n; i++) l.codes[i] = static_cast<int8_t>(extreme ? -half + (bit() % 8 == 0) : static_cast<int>(bit() & static_cast<unsigned>(2 * half - 1)) - half);
  pack_codes(l.codes, n, bits, l.packed);
  for (size_t i = 0; i < l.pixels; i++) {
    const size_t y = i / side % side, x = i % side, b = i / (side * side);
    l.at.push_back(static_cast<uint32_t>((b * (side + 2) + y) * l.pitch() + x * c));
    for (size_t k = 0; k < c; k++) l.padded[l.at[i] + l.pitch() + c + k] = static_cast<uint8_t>(extreme && bit() % 4 ? top : static_cast<int>(bit()) & top);
  }
  for (size_t y = 0; y < 3; y++) l.runs.push_back(static_cast<uint32_t>(y * l.pitch()));
  transform_weights(l, 0, c / 16, l.resident);
  for (size_t r = 0; r < c; r++) {
    // The offset's share: AᵀMA of 2·top·Σ of transformed weights, from the sums of the nine taps.
    int64_t g[3][3] = {}, t[3][4], w[4][4], sum = 0;
    for (size_t k = 0; k < 9 * c; k++) g[k / c / 3][k / c % 3] += l.codes[(r / 16 * 9 * groups + k / 4) * 64 + r % 16 * 4 + k % 4], sum += l.codes[(r / 16 * 9 * groups + k / 4) * 64 + r % 16 * 4 + k % 4];
    for (int i = 0; i < 3; i++) t[i][0] = 2 * g[i][0], t[i][1] = g[i][0] + g[i][1] + g[i][2], t[i][2] = g[i][0] - g[i][1] + g[i][2], t[i][3] = 2 * g[i][2];
    for (int j = 0; j < 4; j++) w[0][j] = 2 * t[0][j], w[1][j] = t[0][j] + t[1][j] + t[2][j], w[2][j] = t[0][j] - t[1][j] + t[2][j], w[3][j] = 2 * t[2][j];
    w[1][1] = 0;
    l.bias[r] = static_cast<int32_t>(-sum * top / 2) + static_cast<int32_t>(bit() % 99);
    l.multipliers[r] = extreme ? 0.3f : 0.9f / static_cast<float>(half), l.quarter[r] = l.multipliers[r] / 4;
    const int a[2][4] = {{1, 1, 1, 0}, {0, 1, -1, -1}};
    for (size_t o = 0; o < 4; o++) {
      int64_t share = 0;
      for (size_t i = 0; i < 16; i++) share += a[o / 2][i / 4] * a[o % 2][i % 4] * w[i / 4][i % 4];
      l.bias4[o * c + r] = static_cast<int32_t>(4 * l.bias[r] - 2 * top * share);
    }
  }
  return l;
}
}  // namespace
int main() {
  for (int extreme = 0; extreme < 2; extreme++)
    for (int b = 2; b <= 5; b++)
      for (int a = 2; a <= 7; a++)
        for (int fly = 0; fly < 2; fly++) {
          Layer l = make(fly ? 4 : 8, 64, 1, b, a, extreme);
          l.sums = room<int32_t>(l.pixels * l.rows);
          direct(l, true), winograd(l, fly ? 7 | kFly : 7);
          size_t wrong = 0, sums = 0, n = l.pixels * l.rows;
          // The sums lie below 2^24, so floats have them exactly.
          for (size_t i = 0; i < n; i++) wrong += l.got[i] != l.want[i], sums += l.sums[i] != 4 * static_cast<int32_t>(l.want_floats[i]);
          const bool fits = b <= 4 && a <= 6;
          if (fits && (wrong || sums)) return std::printf("w%d a%d: differs\n", b, a);
          std::printf("%sw%d a%d %s: %zu sums differ of %zu", fly ? " | " : "", b, a, extreme ? "extreme" : "random", sums, n);
          if (fly) std::printf("%s\n", fits ? "" : ", out of range");
        }
  const size_t shapes[5][3] = {{32, 64, 1}, {16, 128, 1}, {8, 256, 1}, {4, 512, 1}, {8, 256, 8}};
  for (const int bits : {2, 4})
    for (auto& s : shapes) {
      const Layer l = make(s[0], s[1], s[2], bits, 5, false);
      const std::function<void()> work[] = {
          [&] { direct(l, false); }, [&] { direct(l, true); }, [&] { winograd(l, 7); }, [&] { winograd(l, 7 | kFly); },
          [&] { winograd(l, kIn); }, [&] { winograd(l, kMultiply); }, [&] { winograd(l, kOut); }, [&] { winograd(l, kFly); }};
      std::vector<double> times[8];
      for (int i = 0; i < 151; i++)
        for (int k = 0; k < 8; k++) {
          const auto began = std::chrono::steady_clock::now();
          work[k]();
          times[k].push_back(std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - began).count());
        }
      double us[8];
      for (int k = 0; k < 8; k++) std::sort(times[k].begin(), times[k].end()), us[k] = times[k][75];
      std::printf("w%d %zux%zux%zu batch %zu: direct bytes %.0f packed %.0f | winograd resident %.0f fly %.0f | in %.0f multiply %.0f out %.0f weights %.0f us | bytes/resident %.2f packed/resident %.2f packed/fly %.2f\n",
                  bits, s[0], s[0], s[1], s[2], us[0], us[1], us[2], us[3], us[4], us[5], us[6], us[7], us[0] / us[2], us[1] / us[2], us[1] / us[3]);
    }
}
