#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

/**
 * Bit packing of codes stored + 2^(bits-1), least significant bit first, without gaps: eight codes take `bits` bytes.
 * Codes of 8 bits stay signed bytes, as kernels take them.
 *
 *     eight bytes  0000hhhh … 0000bbbb 0000aaaa   <->   bits·8 bits  hhhh … bbbbaaaa
 */
namespace bitdial {

// Internal linkage: each instruction set compiles its own copy, and the linker must not take one for another.

/** Closes the gaps between the low `bits` bits of eight bytes. */
static inline uint64_t squeeze(uint64_t w, int bits) {
  w = (w & 0x00ff00ff00ff00ffu) | ((w & 0xff00ff00ff00ff00u) >> (8 - bits));
  w = (w & 0x0000ffff0000ffffu) | ((w & 0xffff0000ffff0000u) >> (16 - 2 * bits));
  return (w & 0x00000000ffffffffu) | ((w & 0xffffffff00000000u) >> (32 - 4 * bits));
}

/** The inverse: spreads eight fields of `bits` bits over eight bytes. */
static inline uint64_t spread(uint64_t w, int bits) {
  const uint64_t half = (uint64_t{1} << (4 * bits)) - 1;
  w = (w & half) | ((w & (half << (4 * bits))) << (32 - 4 * bits));
  const uint64_t quarter = ((uint64_t{1} << (2 * bits)) - 1) * 0x0000000100000001u;
  w = (w & quarter) | ((w & (quarter << (2 * bits))) << (16 - 2 * bits));
  const uint64_t one = ((uint64_t{1} << bits) - 1) * 0x0001000100010001u;
  return (w & one) | ((w & (one << bits)) << (8 - bits));
}

/** Bytes that `count` codes take. */
static inline size_t packed_bytes(size_t count, int bits) { return (count * static_cast<size_t>(bits) + 7) / 8; }

/** Packs `count` signed codes from a byte boundary on; writes packed_bytes(count, bits) bytes. */
static inline void pack_codes(const int8_t* codes, size_t count, int bits, uint8_t* out) {
  if (bits == 8) {
    std::memcpy(out, codes, count);
    return;
  }
  // The offset's bit flips the sign's; what lies above is cut off.
  const uint64_t each = 0x0101010101010101u, offset = (each << bits) >> 1, field = (each << bits) - each;
  const size_t bytes = packed_bytes(count, bits);
  size_t i = 0, at = 0;
  // Whole words as long as they fit; the next one writes over what is too much.
  for (; i + 8 <= count && at + 8 <= bytes; i += 8, at += static_cast<size_t>(bits)) {
    uint64_t w;
    std::memcpy(&w, codes + i, 8);
    w = squeeze((w ^ offset) & field, bits);
    std::memcpy(out + at, &w, 8);
  }
  for (; i < count; i += 8, at += static_cast<size_t>(bits)) {
    const size_t n = count - i < 8 ? count - i : 8;
    uint64_t w = 0;
    std::memcpy(&w, codes + i, n);
    if (n < 8) w ^= offset & ~((uint64_t{1} << (8 * n)) - 1);
    w = squeeze((w ^ offset) & field, bits);
    std::memcpy(out + at, &w, packed_bytes(n, bits));
  }
}

/** Unpacks `count` codes to signed bytes; reads exactly packed_bytes(count, bits) bytes. */
static inline void unpack_codes(const uint8_t* packed, size_t count, int bits, int8_t* out) {
  if (bits == 8) {
    std::memcpy(out, packed, count);
    return;
  }
  const uint64_t offset = (uint64_t{1} << (bits - 1)) * 0x0101010101010101u;
  const uint64_t top = 0x8080808080808080u;
  for (size_t i = 0; i < count; i += 8) {
    const size_t n = count - i < 8 ? count - i : 8;
    uint64_t w = 0;
    std::memcpy(&w, packed + i / 8 * static_cast<size_t>(bits), packed_bytes(n, bits));
    w = spread(w, bits);
    // Bytes minus offset, without borrows between them.
    w = ((w | top) - (offset & ~top)) ^ ((w ^ ~offset) & top);
    std::memcpy(out + i, &w, n);
  }
}

}  // namespace bitdial
