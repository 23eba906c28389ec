// The kernels in plain C++, compiled anew for each instruction set: the compiler makes vectors of them. Included inside
// an unnamed namespace of each kernels_*.cc, which then replaces what it does better by hand.

constexpr float kMagic = 12582912.0f;  // 1.5·2^23: adding it rounds half to even.

inline float round_even(float v) { return (v + kMagic) - kMagic; }

inline float clamped(float v, float low, float high) {
  v = v > low ? v : low;
  return v < high ? v : high;
}

/** One value of an output row to what is stored. */
inline void store_value(const Epilogue& e, size_t at, float v) {
  v = clamped(v, e.low, e.high);
  if (e.floats) e.floats[at] = v;
  else e.codes[at] = static_cast<uint8_t>(static_cast<int32_t>(round_even(v)) + e.out_zero);
}

/** `n` sums of one pixel, from row `row` on. */
inline void store_sums(const Epilogue& e, size_t pixel, size_t row, size_t n, const int32_t* sums) {
  const size_t at = pixel * e.pitch + row;
  for (size_t i = 0; i < n; i++) {
    const int32_t sum = static_cast<int32_t>(static_cast<uint32_t>(sums[i]) + static_cast<uint32_t>(e.bias[row + i]));
    float v = static_cast<float>(sum) * e.multipliers[row + i];
    if (e.residual) v = v + static_cast<float>(e.residual[at + i] - e.residual_zero) * e.residual_multiplier;
    store_value(e, at + i, v);
  }
}

inline void store_floats(const Epilogue& e, size_t pixel, size_t row, size_t n, const float* sums) {
  const size_t at = pixel * e.pitch + row;
  for (size_t i = 0; i < n; i++) {
    float v = sums[i] + e.float_bias[row + i];
    if (e.float_residual) v += e.float_residual[at + i];
    e.floats[at + i] = clamped(v, e.low, e.high);
  }
}

[[maybe_unused]] void generic_product(const Product& p) {
  for (size_t row = 0; row < p.rows; row += kLanes) {
    const uint8_t* block = p.weights + row / kLanes * p.block_bytes;
    const size_t lanes = p.rows - row < kLanes ? p.rows - row : kLanes;
    for (size_t pixel = 0; pixel < p.count; pixel++) {
      int32_t sums[kLanes] = {};
      const int8_t* w = reinterpret_cast<const int8_t*>(block);
      for (size_t r = 0; r < p.run_count; r++) {
        const uint8_t* a = p.a + p.pixels[pixel] + p.runs[r];
        for (size_t g = 0; g < p.run_groups; g++, a += 4, w += 4 * kLanes) {
          for (size_t l = 0; l < kLanes; l++) {
            sums[l] += a[0] * w[4 * l] + a[1] * w[4 * l + 1] + a[2] * w[4 * l + 2] + a[3] * w[4 * l + 3];
          }
        }
      }
      store_sums(p.epilogue, pixel, row, lanes, sums);
    }
  }
}

[[maybe_unused]] void generic_float_product(const FloatProduct& p) {
  for (size_t row = 0; row < p.rows; row += kLanes) {
    const float* block = p.weights + row / kLanes * p.block_floats;
    const size_t lanes = p.rows - row < kLanes ? p.rows - row : kLanes;
    for (size_t pixel = 0; pixel < p.count; pixel++) {
      float sums[kLanes] = {};
      const float* w = block;
      for (size_t r = 0; r < p.run_count; r++) {
        const float* a = p.a + p.pixels[pixel] + p.runs[r];
        for (size_t k = 0; k < p.run_length; k++, w += p.k_stride) {
          for (size_t l = 0; l < lanes; l++) sums[l] += a[k] * w[l];
        }
      }
      store_floats(p.epilogue, pixel, row, lanes, sums);
    }
  }
}

#include "kernels_generic_depthwise.inl"

[[maybe_unused]] void generic_unpack(const uint8_t* packed, size_t count, int bits, int8_t* out) {
  unpack_codes(packed, count, bits, out);
}

/** Calls visit(offset of the first channel) for every position of a window that lies in the image. */
template <typename Visit>
inline void each_position(const WindowShape& w, uint32_t oy, uint32_t ox, Visit visit) {
  for (uint32_t ky = 0; ky < w.kernel_height; ky++) {
    const int64_t y = int64_t{oy} * w.stride_height - w.pad_top + int64_t{ky} * w.dilation_height;
    if (y < 0 || y >= w.in_height) continue;
    for (uint32_t kx = 0; kx < w.kernel_width; kx++) {
      const int64_t x = int64_t{ox} * w.stride_width - w.pad_left + int64_t{kx} * w.dilation_width;
      if (x < 0 || x >= w.in_width) continue;
      visit(static_cast<size_t>(y * w.in_width + x) * w.channels);
    }
  }
}

/** The greatest of `count` stretches of channels and, with `more`, of what `out` holds; pieces of a constant length become vectors. */
template <typename T>
inline void greatest(const T* in, const size_t* offsets, size_t count, size_t channels, bool more, T* out) {
  constexpr size_t kPiece = 64 / sizeof(T);
  for (size_t c = 0; c < channels; c += kPiece) {
    const size_t n = channels - c < kPiece ? channels - c : kPiece;
    T best[kPiece];
    std::memcpy(best, more ? out + c : in + offsets[0] + c, n * sizeof(T));
    for (size_t k = more ? 0 : 1; k < count; k++) {
      const T* from = in + offsets[k] + c;
      if (n == kPiece) for (size_t i = 0; i < kPiece; i++) best[i] = best[i] < from[i] ? from[i] : best[i];
      else for (size_t i = 0; i < n; i++) best[i] = best[i] < from[i] ? from[i] : best[i];
    }
    std::memcpy(out + c, best, n * sizeof(T));
  }
}

template <typename T>
inline void max_pool(const WindowShape& w, const T* in, T* out) {
  constexpr size_t kMost = 32;
  size_t offsets[kMost];
  for (uint32_t oy = 0; oy < w.out_height; oy++) {
    for (uint32_t ox = 0; ox < w.out_width; ox++, out += w.channels) {
      size_t count = 0;
      bool more = false;
      each_position(w, oy, ox, [&](size_t offset) {
        if (count == kMost) {
          greatest(in, offsets, count, w.channels, more, out);
          more = true;
          count = 0;
        }
        offsets[count++] = offset;
      });
      greatest(in, offsets, count, w.channels, more, out);
    }
  }
}

void generic_max_pool(const WindowShape& w, const uint8_t* in, uint8_t* out) { max_pool(w, in, out); }
void generic_float_max_pool(const WindowShape& w, const float* in, float* out) { max_pool(w, in, out); }

void generic_avg_pool(const Pooling& p, const uint8_t* in, uint8_t* codes, float* floats) {
  constexpr size_t kStep = 64;
  const WindowShape& w = p.window;
  Epilogue e = {};
  e.low = p.low, e.high = p.high, e.out_zero = p.out_zero, e.codes = codes, e.floats = floats;
  for (size_t pixel = 0; pixel < size_t{w.out_height} * w.out_width; pixel++) {
    for (size_t c = 0; c < w.channels; c += kStep) {
      const size_t n = w.channels - c < kStep ? w.channels - c : kStep;
      int32_t sums[kStep] = {};
      int32_t count = 0;
      each_position(w, static_cast<uint32_t>(pixel / w.out_width), static_cast<uint32_t>(pixel % w.out_width),
                    [&](size_t offset) {
                      const uint8_t* from = in + offset + c;
                      for (size_t i = 0; i < n; i++) sums[i] += from[i] - p.in_zero;
                      count++;
                    });
      const float multiplier = static_cast<float>(p.ratio / count);
      for (size_t i = 0; i < n; i++) {
        store_value(e, pixel * w.channels + c + i, static_cast<float>(sums[i]) * multiplier);
      }
    }
  }
}

void generic_float_avg_pool(const Pooling& p, const float* in, float* out) {
  constexpr size_t kStep = 64;
  const WindowShape& w = p.window;
  for (size_t pixel = 0; pixel < size_t{w.out_height} * w.out_width; pixel++) {
    for (size_t c = 0; c < w.channels; c += kStep) {
      const size_t n = w.channels - c < kStep ? w.channels - c : kStep;
      double sums[kStep] = {};
      int32_t count = 0;
      each_position(w, static_cast<uint32_t>(pixel / w.out_width), static_cast<uint32_t>(pixel % w.out_width),
                    [&](size_t offset) {
                      for (size_t i = 0; i < n; i++) sums[i] += static_cast<double>(in[offset + c + i]);
                      count++;
                    });
      for (size_t i = 0; i < n; i++) {
        out[pixel * w.channels + c + i] = clamped(static_cast<float>(sums[i] / count), p.low, p.high);
      }
    }
  }
}

void generic_quantize(const float* in, size_t n, float inverse, int32_t zero, int32_t top, uint8_t* out) {
  const float low = static_cast<float>(-zero), high = static_cast<float>(top);
  for (size_t i = 0; i < n; i++) {
    out[i] = static_cast<uint8_t>(static_cast<int32_t>(round_even(clamped(in[i] * inverse, low, high))) + zero);
  }
}

void generic_add(const uint8_t* const* in, const int32_t* zeros, const float* multipliers, size_t operands, size_t n,
                 const Epilogue& e) {
  constexpr size_t kStep = 256;
  for (size_t at = 0; at < n; at += kStep) {
    const size_t count = n - at < kStep ? n - at : kStep;
    float sums[kStep];
    for (size_t o = 0; o < operands; o++) {
      const uint8_t* x = in[o] + at;
      const int32_t zero = zeros[o];
      const float multiplier = multipliers[o];
      for (size_t i = 0; i < count; i++) {
        const float v = static_cast<float>(x[i] - zero) * multiplier;
        sums[i] = o == 0 ? v : sums[i] + v;
      }
    }
    if (e.floats) {
      for (size_t i = 0; i < count; i++) e.floats[at + i] = clamped(sums[i], e.low, e.high);
    } else {
      for (size_t i = 0; i < count; i++) {
        const float v = round_even(clamped(sums[i], e.low, e.high));
        e.codes[at + i] = static_cast<uint8_t>(static_cast<int32_t>(v) + e.out_zero);
      }
    }
  }
}

void generic_float_add(const float* const* in, size_t operands, size_t n, float low, float high, float* out) {
  for (size_t i = 0; i < n; i++) {
    float v = in[0][i];
    for (size_t o = 1; o < operands; o++) v += in[o][i];
    out[i] = clamped(v, low, high);
  }
}

void generic_round_to_codes(float* values, size_t n, float scale, int32_t zero, int32_t top) {
  const float inverse = 1.0f / scale;
  const float low = static_cast<float>(-zero), high = static_cast<float>(top);
  for (size_t i = 0; i < n; i++) values[i] = round_even(clamped(values[i] * inverse, low, high)) * scale;
}

#include "kernels_generic_search.inl"

constexpr Kernels generic_kernels(const char* name) {
  return {name, false, generic_product, nullptr, generic_float_product, generic_depthwise, generic_float_depthwise,
          generic_unpack, generic_max_pool, generic_float_max_pool, generic_avg_pool, generic_float_avg_pool,
          generic_quantize, generic_add, generic_float_add, generic_round_to_codes, generic_round_to_half,
          generic_from_half, generic_to_half, generic_squared_error, generic_p24_error, generic_moments, generic_codes,
          generic_bins, generic_fold, generic_turn, nullptr, nullptr, nullptr, {}};
}
