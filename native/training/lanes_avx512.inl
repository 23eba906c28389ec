// Sixteen floats in one register. Included by avx512.cc.

struct Lanes {
  __m512 v;
};
/** Pixels × blocks of a product's tile, rows × blocks of an outer product's: what 32 registers hold. */
constexpr size_t kTilePixels = 8, kTileBlocks = 2, kOuterRows = 12, kOuterRowsAlone = 16;

inline __mmask16 first(size_t n) { return static_cast<__mmask16>((1u << n) - 1); }
inline Lanes zeros() { return {_mm512_setzero_ps()}; }
inline Lanes broadcast(float x) { return {_mm512_set1_ps(x)}; }
inline Lanes load(const float* at) { return {_mm512_loadu_ps(at)}; }
inline Lanes load(const float* at, size_t n) { return {_mm512_maskz_loadu_ps(first(n), at)}; }
inline void store(float* at, Lanes a) { _mm512_storeu_ps(at, a.v); }
inline void store(float* at, Lanes a, size_t n) { _mm512_mask_storeu_ps(at, first(n), a.v); }
/** a·b + c */
inline Lanes multiply_add(Lanes a, Lanes b, Lanes c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
inline Lanes operator+(Lanes a, Lanes b) { return {_mm512_add_ps(a.v, b.v)}; }
inline Lanes operator-(Lanes a, Lanes b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline Lanes absolute(Lanes a) { return {_mm512_abs_ps(a.v)}; }
/** The greater of both; what is no number stays. */
inline Lanes greater(Lanes x, Lanes y) {
  const __mmask16 x_is = _mm512_cmp_ps_mask(x.v, y.v, _CMP_NLE_UQ) & _mm512_cmp_ps_mask(y.v, y.v, _CMP_ORD_Q);
  return {_mm512_mask_blend_ps(x_is, y.v, x.v)};
}
/** a where x = y, else b. */
inline Lanes where_equal(Lanes x, Lanes y, Lanes a, Lanes b) {
  return {_mm512_mask_blend_ps(_mm512_cmp_ps_mask(x.v, y.v, _CMP_EQ_OQ), b.v, a.v)};
}
