// float16, the loops of the scale search and the turning of weights, in plain C++. Included by kernels_generic.inl.

[[maybe_unused]] void generic_from_half(const uint16_t* in, size_t n, float* out) {
  for (size_t i = 0; i < n; i++) {
    const uint32_t sign = static_cast<uint32_t>(in[i] & 0x8000) << 16, magnitude = in[i] & 0x7fff;
    float v;
    if (magnitude < 0x400) {
      v = static_cast<float>(magnitude) * 0x1p-24f;
      v = sign ? -v : v;
    } else {
      const uint32_t bits = sign | ((magnitude << 13) + (magnitude < 0x7c00 ? 0x38000000u : 0x70000000u));
      std::memcpy(&v, &bits, 4);
    }
    out[i] = v;
  }
}

/** Half to even, what overflows saturates at ±65504. */
[[maybe_unused]] void generic_to_half(const float* in, size_t n, uint16_t* out) {
  for (size_t i = 0; i < n; i++) {
    const float v = clamped(in[i], -65504.0f, 65504.0f);
    uint32_t bits;
    std::memcpy(&bits, &v, 4);
    const uint32_t sign = (bits >> 16) & 0x8000, mantissa = bits & 0x7fffff;
    const int exponent = static_cast<int>((bits >> 23) & 0xff) - 127;
    const auto rounded = [](uint32_t m, int shift) {
      const uint32_t kept = m >> shift, rest = m & ((1u << shift) - 1), half = 1u << (shift - 1);
      return rest > half || (rest == half && (kept & 1)) ? kept + 1 : kept;
    };
    if (exponent < -25) out[i] = static_cast<uint16_t>(sign);
    else if (exponent < -14) out[i] = static_cast<uint16_t>(sign | rounded(mantissa | 0x800000, -exponent - 1));
    else out[i] = static_cast<uint16_t>(sign | ((static_cast<uint32_t>(exponent + 15) << 10) + rounded(mantissa, 13)));
  }
}

[[maybe_unused]] void generic_round_to_half(float* values, size_t n) {
  uint16_t half[256];
  for (size_t i = 0; i < n; i += 256) {
    const size_t count = n - i < 256 ? n - i : 256;
    generic_to_half(values + i, count, half);
    generic_from_half(half, count, values + i);
  }
}

inline float code_of(float w, float inverse, float low, float high) {
  return round_even(clamped(w * inverse, low, high));
}

/** Σ term(w - scale·code) in 16 lanes. */
template <typename Term>
inline float error_sum(const float* w, size_t n, float scale, int bits, float limit, Term term) {
  const float inverse = 1.0f / scale;
  const float high = static_cast<float>((1 << (bits - 1)) - 1), low = -high - 1.0f;
  float lanes[16] = {};
  float sum = 0;
  for (size_t i = 0; i < n; i += 1024) {
    const size_t end = n - i < 1024 ? n : i + 1024;
    size_t j = i;
    for (; j + 16 <= end; j += 16) {
      for (size_t l = 0; l < 16; l++) {
        lanes[l] = lanes[l] + term(w[j + l] - code_of(w[j + l], inverse, low, high) * scale);
      }
    }
    for (size_t l = 0; j + l < end; l++) {
      lanes[l] = lanes[l] + term(w[j + l] - code_of(w[j + l], inverse, low, high) * scale);
    }
    // Lanes only grow, and float addition is monotone: once past the limit, always past it.
    sum = 0;
    for (int l = 0; l < 16; l++) sum = sum + lanes[l];
    if (sum > limit) break;
  }
  return sum;
}

[[maybe_unused]] float generic_squared_error(const float* w, size_t n, float scale, int bits, float limit) {
  return error_sum(w, n, scale, bits, limit, [](float d) { return d * d; });
}

[[maybe_unused]] float generic_p24_error(const float* w, size_t n, float scale, int bits, float limit) {
  return error_sum(w, n, scale, bits, limit, [](float d) {
    const float quarter = std::sqrt(std::sqrt(std::fabs(d))), eighth = std::sqrt(quarter);
    return d * d * quarter * eighth * std::sqrt(std::sqrt(eighth));
  });
}

[[maybe_unused]] void generic_moments(const float* w, size_t n, float scale, int bits, double* numerator,
                                      double* denominator) {
  const float inverse = 1.0f / scale;
  const float high = static_cast<float>((1 << (bits - 1)) - 1), low = -high - 1.0f;
  double numerators[16] = {}, denominators[16] = {};
  for (size_t j = 0; j < n; j += 16) {
    const size_t count = n - j < 16 ? n - j : 16;
    for (size_t l = 0; l < count; l++) {
      const double code = static_cast<double>(code_of(w[j + l], inverse, low, high));
      numerators[l] = numerators[l] + static_cast<double>(w[j + l]) * code;
      denominators[l] = denominators[l] + code * code;
    }
  }
  *numerator = *denominator = 0;
  for (int l = 0; l < 16; l++) {
    *numerator = *numerator + numerators[l];
    *denominator = *denominator + denominators[l];
  }
}

[[maybe_unused]] CodeSums generic_codes(const float* w, size_t n, float scale, int bits, int8_t* out) {
  const float inverse = 1.0f / scale;
  const float high = static_cast<float>((1 << (bits - 1)) - 1), low = -high - 1.0f;
  CodeSums sums = {};
  for (size_t i = 0; i < n; i += 4096) {
    int32_t sum = 0, size = 0;
    for (size_t j = i; j < n && j < i + 4096; j++) {
      const int32_t code = static_cast<int32_t>(code_of(w[j], inverse, low, high));
      out[j] = static_cast<int8_t>(code);
      sum += code;
      size += code < 0 ? -code : code;
    }
    sums.sum += sum;
    sums.size += size;
  }
  return sums;
}

[[maybe_unused]] float generic_bins(const float* w, size_t n, float least, float density, uint16_t* out) {
  float lanes[16] = {};
  for (size_t i = 0; i < n; i += 16) {
    const size_t count = n - i < 16 ? n - i : 16;
    for (size_t l = 0; l < count; l++) {
      const float at = (w[i + l] - least) * density;
      const int32_t bin = static_cast<int32_t>(at);
      const float off = at - static_cast<float>(bin) - 0.5f;
      out[i + l] = static_cast<uint16_t>(bin);
      lanes[l] += off * off;
    }
  }
  float sum = 0;
  for (const float lane : lanes) sum += lane;
  return sum;
}

[[maybe_unused]] bool generic_fold(const float* in, size_t in_pitch, size_t n, size_t rows, const double* scales,
                                   float* out, size_t pitch, float* least, float* greatest) {
  // A product with 0 is 0 for a finite number, else not a number; so is the sum of them.
  float zeros[kLanes] = {};
  for (size_t c = 0; c < n; c++) {
    for (size_t first = 0; first < rows; first += kLanes) {
      const float* const from = in + c * in_pitch + first;
      float line[kLanes];
      for (size_t l = 0; l < kLanes; l++) {
        const size_t r = first + l;
        line[l] = static_cast<float>(static_cast<double>(from[l]) * scales[r]);
        least[r] = line[l] < least[r] ? line[l] : least[r];
        greatest[r] = line[l] > greatest[r] ? line[l] : greatest[r];
        zeros[l] += line[l] * 0.0f;
      }
      for (size_t l = 0; l < kLanes; l++) out[(first + l) * pitch + c] = line[l];
    }
  }
  bool finite = true;
  for (const float zero : zeros) finite = finite && zero == 0.0f;
  return finite;
}

[[maybe_unused]] void generic_turn(const uint32_t* in, size_t in_pitch, size_t n, uint32_t* out) {
  for (size_t c = 0; c < n; c++) {
    for (size_t r = 0; r < kLanes; r++) out[c * kLanes + r] = in[r * in_pitch + c];
  }
}
