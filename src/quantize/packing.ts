/**
 * Bit packing. Code i of n codes of b bits stands at bits i·b … i·b + b − 1 of the byte string, least significant bit
 * first; nothing is padded but the end of the last byte.
 *
 *     b = 3    byte 0: c2₁c2₀ c1₂c1₁c1₀ c0₂c0₁c0₀    byte 1: c5₀ c4₂c4₁c4₀ c3₂c3₁c3₀ c2₂  …
 */

/** Bytes that `count` codes of `bits` bits take. */
export function packedBytes(count: number, bits: number): number {
  return Math.ceil((count * bits) / 8);
}

/**
 * Packs signed codes, stored + 2^(bits−1).
 * @param codes each in −2^(bits−1) … 2^(bits−1) − 1
 * @param out at least packedBytes(codes.length, bits) long, zero from the first bit on
 * @param firstCode the position, counted in codes, to write the first one at
 */
export function packCodes(codes: Int8Array, bits: number, out: Uint8Array, firstCode = 0): void {
  const offset = 1 << (bits - 1);
  let bit = firstCode * bits;
  for (let i = 0; i < codes.length; i++, bit += bits) {
    const code = codes[i] + offset;
    const byte = bit >>> 3;
    const shift = bit & 7;
    out[byte] |= code << shift;
    if (shift + bits > 8) out[byte + 1] |= code >>> (8 - shift);
  }
}

/**
 * Unpacks `count` signed codes from position `firstCode` on into `out` from `outOffset` on.
 * Positions are limited to 2^31 bits: one op's codes stay below 256 MiB.
 */
export function unpackCodes(
  packed: Uint8Array,
  bits: number,
  firstCode: number,
  count: number,
  out: Int8Array,
  outOffset = 0,
): void {
  const offset = 1 << (bits - 1);
  if (bits === 8) {
    for (let i = 0; i < count; i++) out[outOffset + i] = packed[firstCode + i] - 128;
    return;
  }
  const mask = (1 << bits) - 1;
  let bit = firstCode * bits;
  for (let i = 0; i < count; i++, bit += bits) {
    const byte = bit >>> 3;
    // Past the end reads undefined, which `|` takes for 0.
    const two = packed[byte] | (packed[byte + 1] << 8);
    out[outOffset + i] = ((two >>> (bit & 7)) & mask) - offset;
  }
}
