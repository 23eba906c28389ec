#include "kernels.h"

#if defined(__AMX_INT8__) && defined(__AVX512VBMI__) && defined(__linux__)
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "packing.h"

/**
 * AMX: products of whole tiles in one instruction, 16 pixels × 16 rows × 64 inputs (Sapphire Rapids and later). What makes
 * no whole tile, and all but products, is AVX-512's.
 */
namespace bitdial {
namespace {
#include "kernels_avx512_unpack.inl"
#include "kernels_avx512_store.inl"

/** A tile of weights: whole groups of four inputs for 16 rows. */
constexpr size_t kTileBytes = kLanes * kTileInputs;

/** All eight tiles of 16 lines of 64 bytes; belongs to the thread, for as long as it multiplies. */
class Tiles {
 public:
  Tiles() { _tile_loadconfig(&kShape); }
  ~Tiles() { _tile_release(); }
  Tiles(const Tiles&) = delete;

 private:
  struct Shape {
    uint8_t palette, start, reserved[14];
    uint16_t line_bytes[16];
    uint8_t lines[16];
  };
  // Constant: GCC 12 takes the instruction for one that reads only the first eight bytes.
  static constexpr Shape kShape = {
      1, 0, {}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};
};

/** The sums of 16 or 32 pixels: lines of 32 rows, without bias. */
struct alignas(64) Sums {
  int32_t lines[2 * kTilePixels][2 * kLanes];
};

/** Blocks of 16 rows, one or two of them, and their tiles one after the other as signed bytes. */
struct Weights {
  const uint8_t* packed[2];
  const uint8_t* tiles[2];
};

/** Steps that weights are unpacked ahead of their use: tiles are not read from stores that are still on their way. */
constexpr size_t kAhead = 2;

/** Unpacks the tiles of packed weights on the way; those that no other pixel wants go round in a few of them. */
class Unpacking {
 public:
  Unpacking(const Product& p, size_t steps, bool keep)
      : unpacker_(p.bits), groups_(p.weight_groups), group_bytes_(8 * static_cast<size_t>(p.bits)), steps_(steps),
        mask_(keep ? SIZE_MAX : 2 * kAhead - 1) {}

  size_t place(size_t step) const { return (step & mask_) * kTileBytes; }

  template <int B>
  void step(const Weights& w, size_t step) const {
    if (step >= steps_) return;
    constexpr size_t kGroups = kTileInputs / 4;
    const size_t first = step * kGroups, count = std::min(kGroups, groups_ - first);
    for (size_t b = 0; b < B; b++) {
      const uint8_t* from = w.packed[b] + first * group_bytes_;
      uint8_t* to = const_cast<uint8_t*>(w.tiles[b]) + place(step);
      for (size_t g = 0; g < count; g++, from += group_bytes_, to += 64) _mm512_store_si512(to, unpacker_.codes(from));
    }
  }

 private:
  Unpacker unpacker_;
  size_t groups_, group_bytes_, steps_, mask_;
};

/** 16·A pixels × 16·B rows. Tiles 0 … 3 are the sums, 4 and 5 the inputs, 6 and 7 the weights. */
template <int A, int B, bool Packed>
inline void multiply(const Product& p, size_t pixel, const Weights& weights, bool keep, Sums& sums) {
  const uint8_t* const first = p.a + p.pixels[pixel];
  const size_t second = p.pixels[pixel + (A - 1) * kTilePixels] - p.pixels[pixel];
  const size_t pitch = p.tile_pitch, run_steps = 4 * p.run_groups / kTileInputs;
  const Unpacking unpacking(p, p.run_count * run_steps, keep);
  if (Packed) for (size_t s = 0; s < kAhead; s++) unpacking.step<B>(weights, s);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (size_t r = 0, step = 0; r < p.run_count; r++) {
    const uint8_t* inputs = first + p.runs[r];
    for (const size_t end = step + run_steps; step < end; step++, inputs += p.tile_step) {
      if (Packed) unpacking.step<B>(weights, step + kAhead);
      const size_t at = Packed ? unpacking.place(step) : step * kTileBytes;
      _tile_loadd(6, weights.tiles[0] + at, 64);
      _tile_loadd(4, inputs, pitch);
      _tile_dpbusd(0, 4, 6);
      if (B == 2) {
        _tile_loadd(7, weights.tiles[1] + at, 64);
        _tile_dpbusd(1, 4, 7);
      }
      if (A == 2) {
        _tile_loadd(5, inputs + second, pitch);
        _tile_dpbusd(2, 5, 6);
        if (B == 2) _tile_dpbusd(3, 5, 7);
      }
    }
  }
  constexpr size_t kLine = sizeof(sums.lines[0]);
  _tile_stored(0, sums.lines[0], kLine);
  if (B == 2) _tile_stored(1, sums.lines[0] + kLanes, kLine);
  if (A == 2) _tile_stored(2, sums.lines[kTilePixels], kLine);
  if (A == 2 && B == 2) _tile_stored(3, sums.lines[kTilePixels] + kLanes, kLine);
}

/** Whole blocks of codes, eight pixels at a time. */
template <int B>
inline void store_codes(const Storer& storer, const Epilogue& e, size_t pixel, size_t row, size_t count, const Sums& sums) {
  constexpr size_t kPixels = 8;
  __m512i bias[B];
  for (size_t b = 0; b < B; b++) bias[b] = _mm512_loadu_si512(e.bias + row + b * kLanes);
  for (size_t first = 0; first < count; first += kPixels) {
    __m512i some[kPixels][B];
    for (size_t i = 0; i < kPixels; i++) {
      for (size_t b = 0; b < B; b++) {
        some[i][b] = _mm512_add_epi32(_mm512_load_si512(sums.lines[first + i] + b * kLanes), bias[b]);
      }
    }
    if (e.residual) storer.store_codes<kPixels, B, true>(e, pixel + first, row, some);
    else storer.store_codes<kPixels, B, false>(e, pixel + first, row, some);
  }
}

inline void store(const Storer& storer, const Product& p, size_t pixel, size_t row, size_t count, const Sums& sums) {
  const Epilogue& e = p.epilogue;
  const size_t rows = std::min(p.rows - row, 2 * kLanes);
  if (e.codes && rows == 2 * kLanes) return store_codes<2>(storer, e, pixel, row, count, sums);
  if (e.codes && rows == kLanes) return store_codes<1>(storer, e, pixel, row, count, sums);
  for (size_t b = 0; b < rows; b += kLanes) {
    const __mmask16 mask = first_lanes(rows - b);
    const __m512i bias = _mm512_maskz_loadu_epi32(mask, e.bias + row + b);
    const __m512 multiplier = _mm512_maskz_loadu_ps(mask, e.multipliers + row + b);
    for (size_t i = 0; i < count; i++) {
      const __m512i sum = _mm512_load_si512(sums.lines[i] + b);
      storer.store(e, (pixel + i) * e.pitch + row + b, sum, bias, multiplier, mask);
    }
  }
}

/** 16·A pixels from `pixel` on × 16·B rows; the first ones unpack weights. */
template <int A, int B>
void multiply_and_store(const Product& p, size_t pixel, size_t row, const Weights& weights, const Storer& storer) {
  Sums sums;
  const bool keep = p.count > A * kTilePixels;
  if (p.bits < 8 && pixel == 0) multiply<A, B, true>(p, pixel, weights, keep, sums);
  else multiply<A, B, false>(p, pixel, weights, keep, sums);
  store(storer, p, pixel, row, A * kTilePixels, sums);
}

/** All pixels × 16·B rows. Where the last do not fill a tile, it takes some of those before them once more. */
template <int B>
void multiply_rows(const Product& p, size_t row, const Weights& weights, const Storer& storer) {
  size_t pixel = 0;
  for (; pixel + 2 * kTilePixels <= p.count; pixel += 2 * kTilePixels) {
    multiply_and_store<2, B>(p, pixel, row, weights, storer);
  }
  for (; pixel < p.count; pixel += kTilePixels) {
    multiply_and_store<1, B>(p, std::min(pixel, p.count - kTilePixels), row, weights, storer);
  }
}

void tile_product(const Product& p) {
  const Tiles tiles;
  const Storer storer(p.epilogue);
  const size_t unpacked = 64 * p.run_count * p.run_groups;
  for (size_t row = 0; row < p.rows; row += 2 * kLanes) {
    const uint8_t *first = p.weights + row / kLanes * p.block_bytes, *second = first + p.block_bytes;
    Weights weights = {{first, second}, {first, second}};
    if (p.bits < 8) weights.tiles[0] = p.unpacked, weights.tiles[1] = p.unpacked + unpacked;
    if (p.rows - row > kLanes) multiply_rows<2>(p, row, weights, storer);
    else multiply_rows<1>(p, row, weights, storer);
  }
}

/** The system gives each process tiles only when it asks. */
bool permitted() {
  constexpr long kAskForState = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kAskForState, kTileData) == 0;
}

Kernels make(const Kernels& avx512) {
  Kernels k = avx512;
  k.name = "amx";
  k.tile_product = tile_product;
  // Sixteen times as many products a cycle leave nothing to save by fewer products.
  k.winograd = k.winograd_rows = k.winograd_large = nullptr;
  return k;
}
}  // namespace

const Kernels* amx_kernels() {
  const Kernels* avx512 = avx512_vnni_kernels();
  if (!avx512 || !__builtin_cpu_supports("amx-int8")) return nullptr;
  static const bool may = permitted();
  static const Kernels kernels = make(*avx512);
  return may ? &kernels : nullptr;
}
}  // namespace bitdial
#else
namespace bitdial {
const Kernels* amx_kernels() { return nullptr; }
}  // namespace bitdial
#endif
