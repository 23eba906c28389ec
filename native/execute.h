#pragma once

#include <functional>
#include <vector>

#include "plan.h"

namespace bitdial {

/** What one thread works in; grows to what the plans need and is used again. */
struct Scratch {
  Memory images, group, padded, gathered, patch, tile, unpacked, transformed;
  std::vector<uint32_t> pixels;
  /** Lets go of what has grown beyond what most nets need. */
  void trim();
};

/** Threads that share the work of one op. */
class Team {
 public:
  virtual ~Team() = default;
  virtual size_t size() const = 0;
  /** Calls work(unit, scratch of the thread) for every unit below `units`; returns when all are done. */
  virtual void parallel(size_t units, const std::function<void(size_t, Scratch&)>& work) = 0;
};

/** One thread by itself. */
class Solo : public Team {
 public:
  explicit Solo(Scratch& scratch) : scratch_(scratch) {}
  size_t size() const override { return 1; }
  void parallel(size_t units, const std::function<void(size_t, Scratch&)>& work) override {
    for (size_t i = 0; i < units; i++) work(i, scratch_);
  }

 private:
  Scratch& scratch_;
};

/**
 * Runs a plan on some images.
 * @param input float32, images × elements of the input
 * @param logits float32, images × elements of the output
 */
void execute(const Plan& plan, const Kernels& kernels, const float* input, size_t images, float* logits,
             Scratch& scratch, Team& team);

/** One run of a stage: `images` images of a chunk from `first` on, their buffers, and who works on it. */
struct Frame {
  const Plan& plan;
  const Kernels& kernels;
  size_t chunk, first, images;
  Scratch& scratch;
  Team& team;

  uint8_t* bytes(uint32_t tensor) const {
    const Tensor& t = plan.root(tensor);
    if (!t.shared) return scratch.group.data() + t.offset * images;
    return scratch.images.data() + t.offset * chunk + first * t.elements * plan.element_bytes(t);
  }
  float* floats(uint32_t tensor) const { return reinterpret_cast<float*>(bytes(tensor)); }
  Epilogue epilogue(const Op& op) const;
};

/** Multiplications from which an op is worth sharing among threads. */
constexpr size_t kShareWork = 1 << 18;

void run_linear(const Frame& frame, const Op& op);
/** Rows of an op's output that are left to do. */
struct RowRange {
  size_t first, count;
};
/** Makes the rows of a convolution that can go Winograd's way. @returns the others */
std::vector<RowRange> run_winograd(const Frame& frame, const Op& op);
void run_depthwise(const Frame& frame, const Op& op);
/** The epilogue from a pixel and a row on. */
Epilogue shifted(Epilogue e, size_t pixel, size_t row);
/** Weights as float32, rows first … first + count - 1 of a block layout: [block][column][lanes]. */
void decode_floats(const Plan& plan, const Kernels& kernels, const Op& op, size_t first_row, size_t rows,
                   Scratch& scratch, float* out);

/** The image with what stands outside it, as far as windows reach. */
struct Padded {
  const uint8_t* data;
  /** Elements of a row and of an image. */
  size_t row, image;
};
/** @param element bytes of an element @param fill a byte that stands outside, repeated */
Padded pad_images(const WindowShape& window, const uint8_t* images, size_t count, size_t element, uint8_t fill,
                  uint32_t multiplier, Memory& scratch);

}  // namespace bitdial
