// Packed weights to bytes, with AVX-512 VBMI. Included by kernels_avx512vnni.cc.

inline __m512i broadcast4(const uint8_t* q) {
  int32_t four;
  std::memcpy(&four, q, 4);
  return _mm512_set1_epi32(four);
}

/** Constants that unpack 64 codes of `bits` bits, as packing.h lays them out. */
struct Unpacker {
  __m512i bytes, shifts, mask, offset;

  explicit Unpacker(int bits) {
    alignas(64) uint8_t from[64], shift[64];
    for (int i = 0; i < 64; i++) {
      from[i] = static_cast<uint8_t>((i / 8 * bits + i % 8) & 63);
      shift[i] = static_cast<uint8_t>(i % 8 * bits);
    }
    bytes = _mm512_load_si512(from);
    shifts = _mm512_load_si512(shift);
    mask = _mm512_set1_epi8(static_cast<char>((1 << bits) - 1));
    offset = _mm512_set1_epi8(static_cast<char>(1 << (bits - 1)));
  }

  __m512i unsigned_codes(const uint8_t* packed) const { return unsigned_codes(_mm512_loadu_si512(packed)); }
  __m512i unsigned_codes(__m512i packed) const {
    const __m512i spread = _mm512_permutexvar_epi8(bytes, packed);
    return _mm512_and_si512(_mm512_multishift_epi64_epi8(shifts, spread), mask);
  }

  __m512i codes(const uint8_t* packed) const { return _mm512_sub_epi8(unsigned_codes(packed), offset); }
  /** Of up to 4 bits, which are 32 bytes: loads that cross no cache line where those begin at a multiple of 32. */
  __m512i half_codes(const uint8_t* packed) const {
    const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(packed));
    return _mm512_sub_epi8(unsigned_codes(_mm512_castsi256_si512(half)), offset);
  }
};

[[maybe_unused]] void unpack(const uint8_t* packed, size_t count, int bits, int8_t* out) {
  if (bits == 8) {
    std::memcpy(out, packed, count);
    return;
  }
  const Unpacker u(bits);
  for (size_t i = 0; i < count; i += 64) {
    _mm512_storeu_si512(out + i, u.codes(packed + i / 8 * static_cast<size_t>(bits)));
  }
}
