#pragma once

#include <cstddef>
#include <cstdint>

/** What an instruction set gives: one table of functions each, all of the same arithmetic (docs/ARITHMETIC.md). */
namespace bitdial {

/** Output channels whose weights lie together. */
constexpr size_t kLanes = 16;
/** Bytes that kernels may read past the end of weights and scratch. */
constexpr size_t kSlack = 128;
/** Pixels and inputs of tiles, where an instruction set has such. */
constexpr size_t kTilePixels = 16, kTileInputs = 64;
constexpr size_t kTileSlack = 1024;

/** From an int32 sum (or a float one) to what is stored. Pointers are those of the first row. */
struct Epilogue {
  /** Integer: zero point and codes' sums are already in it. */
  const int32_t* bias;
  const float* multipliers;
  const float* float_bias;
  /** Codes added before the clamp, indexed as the output; null where there are none. */
  const uint8_t* residual;
  const float* float_residual;
  int32_t residual_zero;
  float residual_multiplier;
  float low, high;
  int32_t out_zero;
  /** Codes, or float32 for logits and in float plans. */
  uint8_t* codes;
  float* floats;
  /** Output channels of the whole op: elements from one pixel to the next. */
  size_t pitch;
};

/**
 * Pixels × rows of a convolution or dense layer. Pixel p's patch is `run_count` runs of `run_groups` groups of 4 inputs;
 * run r begins at a + pixels[p] + runs[r].
 *
 *     weights: blocks of 16 rows; in a block, group after group:  row 0: c0 c1 c2 c3 | row 1: c0 c1 c2 c3 | … row 15
 */
struct Product {
  const uint8_t* a;
  const uint32_t* pixels;
  size_t count;
  const uint32_t* runs;
  size_t run_count, run_groups;
  const uint8_t* weights;
  /** Of the weights as they lie there; 8 are signed bytes. */
  int bits;
  /** Bytes from a block to the next. */
  size_t block_bytes;
  /** Output channels; the last block may have fewer than 16. */
  size_t rows;
  /** Room for two blocks as signed bytes, where weights are packed; for tiles in whole steps of 64 inputs. */
  uint8_t* unpacked;
  /** True where two products of a code and an input could leave int16. */
  bool wide;
  Epilogue epilogue;
  /** Groups in a block: fewer than those of all runs where these are filled up with zeros for tiles. */
  size_t weight_groups;
  /** For tiles: bytes from one of 16 pixels to the next, and from a step of inputs to the next of a run. */
  size_t tile_pitch, tile_step;
};

/** The same in float32; `runs` and `pixels` count floats, run_length too. weights: [block][k][16], the last [k][lanes]. */
struct FloatProduct {
  const float* a;
  const uint32_t* pixels;
  size_t count;
  const uint32_t* runs;
  size_t run_count, run_length;
  const float* weights;
  /** Floats from a block to the next, and from one k to the next. */
  size_t block_floats, k_stride;
  size_t rows;
  Epilogue epilogue;
};

struct WindowShape {
  uint32_t in_height, in_width, channels, out_height, out_width;
  uint32_t kernel_height, kernel_width, stride_height, stride_width, dilation_height, dilation_width;
  uint32_t pad_top, pad_left;
};

/**
 * Channel c of the output is of channel c alone. Outside of the image stands `fill`, in floats 0. Weights: [tap][channels].
 * window.channels are those of the output too.
 */
struct Depthwise {
  const uint8_t* a;
  const float* float_a;
  WindowShape window;
  /** Lines of the output to make; the epilogue is that of the image's first pixel. */
  size_t first_line, lines;
  uint8_t fill;
  const int8_t* weights;
  const float* float_weights;
  Epilogue epilogue;
};

struct Pooling {
  WindowShape window;
  double ratio;
  int32_t in_zero, out_zero;
  float low, high;
};

/** A tile of pixels: where its inputs begin, two more each way, its first pixel, and how much of it lies in the image. */
struct WinogradTile {
  uint32_t patch, pixel;
  uint8_t rows, columns;
};

/** Tiles of codes, transformed; out: [place][tile][channel], the channels in a form's own order, `pitch` bytes from a place to the next. */
struct WinogradInputs {
  const uint8_t* a;
  const WinogradTile* tiles;
  size_t count;
  /** Bytes of a row of pixels. */
  size_t row;
  size_t channels;
  uint8_t offset;
  uint8_t* out;
  size_t pitch;
};

/** A block of 16 rows, transformed; out: in the order of a form's product; start: sums to begin with where inputs have an offset, [place][16]. */
struct WinogradWeights {
  const uint8_t* packed;
  int bits;
  size_t channels;
  int32_t offset;
  int8_t* out;
  size_t pitch;
  int32_t* start;
};

/** Tiles that are multiplied together, and where they lie transformed. */
struct WinogradGroup {
  const WinogradTile* tiles;
  size_t count;
  uint8_t* in;
  size_t pitch;
};

/** Groups of up to 8 tiles × 16 rows. The epilogue is that of codes. */
struct WinogradProduct {
  const WinogradGroup* groups;
  size_t count, channels, out_width;
  const int8_t* weights;
  size_t weight_pitch;
  const int32_t* start;
  /** What will be unpacked next, fetched meanwhile: so many bytes with each step of the first group. */
  const uint8_t* next;
  size_t ahead;
  Epilogue epilogue;
};

/**
 * Cycles of it for 16 rows and C channels, within some per cent: transforming weights takes weights · C, 64 channels of a
 * tile's inputs `inputs`, a tile tile · C + tile_start.
 */
struct WinogradCosts {
  double weights, inputs, tile, tile_start;
};

/** The same of a 3×3 convolution's direct way: a pixel takes pixel · C + start. */
struct DirectCosts {
  double pixel, start;
};

/** One form of it: tiles of `rows` × `columns` pixels, by products at `places` places of numbers of `element` bytes. */
struct WinogradKernels {
  size_t rows, columns, places, element;
  WinogradCosts costs;
  void (*inputs)(const WinogradInputs&);
  void (*weights)(const WinogradWeights&);
  void (*product)(const WinogradProduct&);
};

/** Σcode and Σ|code|. */
struct CodeSums {
  int64_t sum, size;
};

struct Kernels {
  const char* name;
  /** product() takes packed weights; otherwise they are unpacked to 8 bits before. */
  bool packed_weights;
  void (*product)(const Product&);
  /**
   * The same for kTilePixels pixels or more, in runs of whole steps of kTileInputs; null where it is no faster. Only the
   * starts of tiles are read: every kTilePixels pixels, and kTilePixels before the end. It may read kTileSlack bytes past
   * the end of weights.
   */
  void (*tile_product)(const Product&);
  void (*float_product)(const FloatProduct&);
  void (*depthwise)(const Depthwise&);
  void (*float_depthwise)(const Depthwise&);
  /** `count` codes, a multiple of 64; may read kSlack bytes past them. */
  void (*unpack)(const uint8_t* packed, size_t count, int bits, int8_t* out);
  void (*max_pool)(const WindowShape&, const uint8_t* in, uint8_t* out);
  void (*float_max_pool)(const WindowShape&, const float* in, float* out);
  void (*avg_pool)(const Pooling&, const uint8_t* in, uint8_t* codes, float* floats);
  void (*float_avg_pool)(const Pooling&, const float* in, float* out);
  /** q = rhe(clamp(x·inverse, -zero, top)) + zero */
  void (*quantize)(const float* in, size_t n, float inverse, int32_t zero, int32_t top, uint8_t* out);
  /** Sum of operands; one operand is a change of storage. */
  void (*add)(const uint8_t* const* in, const int32_t* zeros, const float* multipliers, size_t operands, size_t n,
              const Epilogue&);
  void (*float_add)(const float* const* in, size_t operands, size_t n, float low, float high, float* out);
  /** In place, to codes (value scale·(q - zero)) and to float16. */
  void (*round_to_codes)(float* values, size_t n, float scale, int32_t zero, int32_t top);
  void (*round_to_half)(float* values, size_t n);
  void (*from_half)(const uint16_t* in, size_t n, float* out);
  void (*to_half)(const float* in, size_t n, uint16_t* out);
  /** Σ(w - scale·code)² in 16 float32 lanes, or anything above `limit` as soon as the sum is sure to pass it. */
  float (*squared_error)(const float* w, size_t n, float scale, int bits, float limit);
  /** Σ|w - scale·code|^2.4 in the same way (the power: src/quantize/scales.ts). */
  float (*p24_error)(const float* w, size_t n, float scale, int bits, float limit);
  /** Σw·code and Σcode² in 16 float64 lanes, the lanes then in order. */
  void (*moments)(const float* w, size_t n, float scale, int bits, double* numerator, double* denominator);
  CodeSums (*codes)(const float* w, size_t n, float scale, int bits, int8_t* out);
  /** ⌊(w - least)·density⌋ of each, and about Σ(that product less the bin's middle)², in whatever order. */
  float (*bins)(const float* w, size_t n, float least, float density, uint16_t* out);
  /**
   * The first `rows` columns, a multiple of 16, of [n][in_pitch] times a scale each in float64, rounded to float32, as rows of
   * `out`; widens least[rows] and greatest[rows] to hold them. @returns whether all are finite
   */
  bool (*fold)(const float* in, size_t in_pitch, size_t n, size_t rows, const double* scales, float* out, size_t pitch,
               float* least, float* greatest);
  /** Sixteen rows of n words to [n][16]. */
  void (*turn)(const uint32_t* in, size_t in_pitch, size_t n, uint32_t* out);
  /** F(2×2, 3×3), F(2, 3) along rows and F(4×4, 3×3); null where 3×3 convolutions only go the direct way. */
  const WinogradKernels *winograd, *winograd_rows, *winograd_large;
  DirectCosts direct;
};

/** Null where this build or this processor lacks it. */
const Kernels* portable_kernels();
const Kernels* avx2_kernels();
const Kernels* avx512_vnni_kernels();
const Kernels* amx_kernels();
const Kernels* neon_kernels();

}  // namespace bitdial
