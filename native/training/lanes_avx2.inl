// Sixteen floats in two registers. Included by avx2.cc.

struct Lanes {
  __m256 low, high;
};
/** Pixels × blocks of a product's tile, rows × blocks of an outer product's: what 16 registers hold. */
constexpr size_t kTilePixels = 6, kTileBlocks = 1, kOuterRows = 6, kOuterRowsAlone = 6;

/** All ones in the first n of 8 lanes. */
inline __m256i first(size_t n) {
  const __m256i order = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), order);
}
inline Lanes zeros() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
inline Lanes broadcast(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
inline Lanes load(const float* at) { return {_mm256_loadu_ps(at), _mm256_loadu_ps(at + 8)}; }
inline Lanes load(const float* at, size_t n) {
  if (n <= 8) return {_mm256_maskload_ps(at, first(n)), _mm256_setzero_ps()};
  return {_mm256_loadu_ps(at), _mm256_maskload_ps(at + 8, first(n - 8))};
}
inline void store(float* at, Lanes a) {
  _mm256_storeu_ps(at, a.low);
  _mm256_storeu_ps(at + 8, a.high);
}
inline void store(float* at, Lanes a, size_t n) {
  if (n <= 8) return _mm256_maskstore_ps(at, first(n), a.low);
  _mm256_storeu_ps(at, a.low);
  _mm256_maskstore_ps(at + 8, first(n - 8), a.high);
}
/** a·b + c */
inline Lanes multiply_add(Lanes a, Lanes b, Lanes c) {
  return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
}
inline Lanes operator+(Lanes a, Lanes b) { return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)}; }
inline Lanes operator-(Lanes a, Lanes b) { return {_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)}; }
inline Lanes absolute(Lanes a) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  return {_mm256_andnot_ps(sign, a.low), _mm256_andnot_ps(sign, a.high)};
}
/** The greater of both; what is no number stays. */
inline __m256 greater(__m256 x, __m256 y) {
  const __m256 x_is = _mm256_and_ps(_mm256_cmp_ps(x, y, _CMP_NLE_UQ), _mm256_cmp_ps(y, y, _CMP_ORD_Q));
  return _mm256_blendv_ps(y, x, x_is);
}
inline Lanes greater(Lanes x, Lanes y) { return {greater(x.low, y.low), greater(x.high, y.high)}; }
/** a where x = y, else b. */
inline Lanes where_equal(Lanes x, Lanes y, Lanes a, Lanes b) {
  return {_mm256_blendv_ps(b.low, a.low, _mm256_cmp_ps(x.low, y.low, _CMP_EQ_OQ)),
          _mm256_blendv_ps(b.high, a.high, _mm256_cmp_ps(x.high, y.high, _CMP_EQ_OQ))};
}
