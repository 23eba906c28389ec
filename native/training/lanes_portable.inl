// Sixteen floats as four vectors of the compiler's, which any processor can do in its own way. Included by portable.cc.

typedef float Four __attribute__((vector_size(16)));

struct Lanes {
  Four v[4];
};
constexpr size_t kTilePixels = 2, kTileBlocks = 1, kOuterRows = 2, kOuterRowsAlone = 2;

inline Lanes zeros() { return {}; }
inline Lanes broadcast(float x) {
  const Four four = {x, x, x, x};
  return {{four, four, four, four}};
}
inline Lanes load(const float* at) {
  Lanes a;
  std::memcpy(&a, at, sizeof a);
  return a;
}
inline Lanes load(const float* at, size_t n) {
  Lanes a = {};
  std::memcpy(&a, at, n * sizeof(float));
  return a;
}
inline void store(float* at, Lanes a) { std::memcpy(at, &a, sizeof a); }
inline void store(float* at, Lanes a, size_t n) { std::memcpy(at, &a, n * sizeof(float)); }
/** a·b + c, rounded twice. */
inline Lanes multiply_add(Lanes a, Lanes b, Lanes c) {
  for (int i = 0; i < 4; i++) c.v[i] += a.v[i] * b.v[i];
  return c;
}
inline Lanes operator+(Lanes a, Lanes b) {
  for (int i = 0; i < 4; i++) a.v[i] += b.v[i];
  return a;
}
inline Lanes operator-(Lanes a, Lanes b) {
  for (int i = 0; i < 4; i++) a.v[i] -= b.v[i];
  return a;
}
inline Lanes absolute(Lanes a) {
  for (Four& four : a.v) four = four < 0 ? -four : four;
  return a;
}
/** The greater of both; what is no number stays. */
inline Lanes greater(Lanes x, Lanes y) {
  for (int i = 0; i < 4; i++) y.v[i] = (x.v[i] <= y.v[i]) | (y.v[i] != y.v[i]) ? y.v[i] : x.v[i];
  return y;
}
/** a where x = y, else b. */
inline Lanes where_equal(Lanes x, Lanes y, Lanes a, Lanes b) {
  for (int i = 0; i < 4; i++) b.v[i] = x.v[i] == y.v[i] ? a.v[i] : b.v[i];
  return b;
}
