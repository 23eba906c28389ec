#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <vector>

#include "kernels.h"
#include "memory.h"

namespace bitdial {

/** A description that makes no plan: says what was expected and what came. */
struct PlanError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

enum class Storage { codes, half, full };

struct Tensor {
  uint32_t height, width, channels;
  Storage storage;
  int bits;
  float scale;
  int32_t zero;
  /** The tensor whose buffer this one has. */
  uint32_t root;
  size_t elements;
  /** Used in several stages, so there for all images of a chunk; others only for those of a group. For roots. */
  bool shared = false;
  /** Bytes from the start of its buffers, for each image. */
  size_t offset = 0;
  bool written = false;
};

enum class Kind { conv, depthwise, dense, max_pool, avg_pool, add, concat, pad, requantize };
enum class Rule { min_max, squared_error, p24 };

/** Where a linear op's floats come from: indices of sources, -1 for none. */
struct LinearSource {
  Rule rule;
  int correction, kernel, bias, gamma, beta, mean, variance;
  double epsilon;
  /** A batch norm of its own: a depthwise 1×1. */
  bool affine;
};

/** When a 3×3 convolution goes the Winograd way (winograd.h). */
enum class WinogradUse { never, where_it_pays, always, always_large };

/** Its forms: F(2×2, 3×3) and F(2, 3) along rows, of bytes, and F(4×4, 3×3) of 16 bits. */
enum class WinogradForm : uint8_t { none = 0, square = 1, row = 2, large = 4 };

/** The forms in which it is exact for a block of 16 rows. */
struct WinogradForms {
  uint8_t mask = 0;
  bool has(WinogradForm form) const { return (mask & static_cast<uint8_t>(form)) != 0; }
  void add(WinogradForm form) { mask = static_cast<uint8_t>(mask | static_cast<uint8_t>(form)); }
  bool operator==(const WinogradForms&) const = default;
};

/** Weights of a conv, dense or depthwise op, and where they lie in the plan's memory. */
struct Linear {
  int bits;
  size_t rows, columns;
  /** Integer products: groups of four inputs. */
  size_t groups;
  /** Blocks of 16 rows in the kernels' layout; the other rows are one tight stream [row][column] (or [tap][row]). */
  size_t full_blocks, block_bytes;
  size_t full_at, tail_at, bias_at, scales_at;
  /** Patches are gathered, for their runs are no multiples of four bytes. */
  bool gathered;
  bool wide;
  WinogradUse winograd;
  /** Those that suit the full blocks' codes. */
  std::vector<WinogradForms> winograd_blocks;
  size_t tail_rows() const { return rows - full_blocks * kLanes; }
};

struct Op {
  Kind kind;
  std::vector<uint32_t> inputs;
  std::vector<float> multipliers;
  std::vector<size_t> inner;
  uint32_t output = 0;
  float low = 0, high = 0;
  WindowShape window = {};
  int residual = -1;
  float residual_multiplier = 0;
  double ratio = 0;
  size_t outer = 0;
  uint32_t channel_multiplier = 1;
  uint32_t top = 0, left = 0;
  Linear linear = {};
  LinearSource source = {};
};

/**
 * Ops that run one after the other for a group of images before the next group: as many as keep what passes between them in
 * the second cache.
 */
struct Stage {
  size_t first_op, end_op, group;
};

/** Images that run together at most: late layers of few pixels then read their weights once for all of them. */
constexpr size_t kChunk = 32;

struct Plan {
  bool is_float = false;
  std::vector<Tensor> tensors;
  std::vector<Op> ops;
  uint32_t input = 0, output = 0;
  size_t source_count = 0;
  std::vector<Stage> stages;
  /** Of the shared tensors of one image. */
  size_t image_bytes = 0;
  /** Of a stage's own tensors, of all its group. */
  size_t group_bytes = 0;
  /** Multiply-accumulates of one image. */
  double macs = 0;
  Memory memory;

  Plan() = default;
  Plan(const Plan&) = delete;
  ~Plan() { g_plan_bytes -= memory.size(); }

  size_t element_bytes(const Tensor& t) const { return !is_float && t.storage == Storage::codes ? 1 : 4; }
  const Tensor& root(uint32_t tensor) const { return tensors[tensors[tensor].root]; }
};

/** A float32 weight tensor, row-major. */
struct Source {
  const float* data;
  size_t length;
};

/**
 * Reads and checks a description (src/engine/native-plan.ts writes it), holds the sources' sizes against it and lays
 * out the plan's memory.
 */
void load_plan(const double* words, size_t count, const std::vector<Source>& sources, Plan& plan);

}  // namespace bitdial
