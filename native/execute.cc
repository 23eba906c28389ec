#include "execute.h"

#include <algorithm>

namespace bitdial {
namespace {

/** Bytes that a thread keeps between runs at most. */
constexpr size_t kKeep = size_t{64} << 20;

int32_t top_of(const Tensor& t) { return (1 << t.bits) - 1 - t.zero; }

/** Rounds what a float op gave to its tensor's storage. */
void finish(const Frame& f, uint32_t tensor) {
  const Tensor& t = f.plan.tensors[tensor];
  const size_t n = t.elements * f.images;
  if (t.storage == Storage::half) f.kernels.round_to_half(f.floats(tensor), n);
  else if (t.storage == Storage::codes) f.kernels.round_to_codes(f.floats(tensor), n, t.scale, t.zero, top_of(t));
}

void run_pool(const Frame& f, const Op& op) {
  const Tensor &in = f.plan.tensors[op.inputs[0]], &out = f.plan.tensors[op.output];
  const Pooling pool = {op.window, op.ratio, in.zero, out.zero, op.low, op.high};
  const bool float_out = out.storage == Storage::full;
  for (size_t n = 0; n < f.images; n++) {
    const size_t from = n * in.elements, to = n * out.elements;
    if (f.plan.is_float) {
      const float* x = f.floats(op.inputs[0]) + from;
      if (op.kind == Kind::max_pool) f.kernels.float_max_pool(op.window, x, f.floats(op.output) + to);
      else f.kernels.float_avg_pool(pool, x, f.floats(op.output) + to);
    } else {
      const uint8_t* x = f.bytes(op.inputs[0]) + from;
      if (op.kind == Kind::max_pool) f.kernels.max_pool(op.window, x, f.bytes(op.output) + to);
      else f.kernels.avg_pool(pool, x, float_out ? nullptr : f.bytes(op.output) + to,
                              float_out ? f.floats(op.output) + to : nullptr);
    }
  }
}

void run_add(const Frame& f, const Op& op) {
  const size_t n = f.plan.tensors[op.output].elements * f.images;
  if (f.plan.is_float) {
    std::vector<const float*> in;
    for (const uint32_t i : op.inputs) in.push_back(f.floats(i));
    f.kernels.float_add(in.data(), in.size(), n, op.low, op.high, f.floats(op.output));
    return;
  }
  std::vector<const uint8_t*> in;
  std::vector<int32_t> zeros;
  for (const uint32_t i : op.inputs) {
    in.push_back(f.bytes(i));
    zeros.push_back(f.plan.tensors[i].zero);
  }
  f.kernels.add(in.data(), zeros.data(), op.multipliers.data(), in.size(), n, f.epilogue(op));
}

/** Codes go through a table of 256: what a code of the operand becomes. */
void concat_codes(const Frame& f, const Op& op) {
  const Tensor& out = f.plan.tensors[op.output];
  const size_t outer = op.outer * f.images, total = out.elements / op.outer;
  size_t column = 0;
  for (size_t i = 0; i < op.inputs.size(); i++) {
    uint8_t every[256], table[256];
    for (int q = 0; q < 256; q++) every[q] = static_cast<uint8_t>(q);
    const uint8_t* codes = every;
    Epilogue e = f.epilogue(op);
    e.codes = table;
    f.kernels.add(&codes, &f.plan.tensors[op.inputs[i]].zero, &op.multipliers[i], 1, 256, e);
    const size_t levels = size_t{1} << f.plan.tensors[op.inputs[i]].bits, inner = op.inner[i];
    const bool same = std::equal(table, table + levels, every);
    const uint8_t* from = f.bytes(op.inputs[i]);
    uint8_t* to = f.bytes(op.output) + column;
    for (size_t o = 0; o < outer; o++, from += inner, to += total) {
      if (same) std::memcpy(to, from, inner);
      else for (size_t j = 0; j < inner; j++) to[j] = table[from[j]];
    }
    column += inner;
  }
}

void concat_floats(const Frame& f, const Op& op) {
  const Tensor& out = f.plan.tensors[op.output];
  const size_t outer = op.outer * f.images, total = out.elements / op.outer;
  size_t column = 0;
  for (size_t i = 0; i < op.inputs.size(); i++) {
    const Tensor& in = f.plan.tensors[op.inputs[i]];
    const size_t inner = op.inner[i];
    for (size_t o = 0; o < outer; o++) {
      float* to = f.floats(op.output) + o * total + column;
      if (f.plan.is_float) {
        const float* from = f.floats(op.inputs[i]) + o * inner;
        f.kernels.float_add(&from, 1, inner, op.low, op.high, to);
      } else {
        const uint8_t* from = f.bytes(op.inputs[i]) + o * inner;
        Epilogue e = f.epilogue(op);
        e.floats = to;
        f.kernels.add(&from, &in.zero, &op.multipliers[i], 1, inner, e);
      }
    }
    column += inner;
  }
}

void run_pad(const Frame& f, const Op& op) {
  const Tensor &in = f.plan.tensors[op.inputs[0]], &out = f.plan.tensors[op.output];
  const size_t element = f.plan.is_float ? 4 : 1;
  const size_t row = size_t{in.width} * in.channels * element, pixel = out.channels * element;
  const uint8_t* from = f.bytes(op.inputs[0]);
  uint8_t* image = f.bytes(op.output);
  std::memset(image, f.plan.is_float ? 0 : out.zero, out.elements * element * f.images);
  for (size_t n = 0; n < f.images; n++, image += out.elements * element) {
    for (size_t y = 0; y < in.height; y++, from += row) {
      std::memcpy(image + ((y + op.top) * out.width + op.left) * pixel, from, row);
    }
  }
}

void run_op(const Frame& f, const Op& op) {
  switch (op.kind) {
    case Kind::conv:
    case Kind::dense:
      return run_linear(f, op);
    case Kind::depthwise:
      return run_depthwise(f, op);
    case Kind::max_pool:
    case Kind::avg_pool:
      return run_pool(f, op);
    case Kind::add:
    case Kind::requantize:
      return run_add(f, op);
    case Kind::concat:
      return f.plan.is_float || f.plan.tensors[op.output].storage == Storage::full ? concat_floats(f, op)
                                                                                   : concat_codes(f, op);
    case Kind::pad:
      return run_pad(f, op);
  }
}

}  // namespace

void Scratch::trim() {
  Memory* const all[] = {&images, &group, &padded, &gathered, &patch, &tile, &unpacked, &transformed};
  size_t bytes = 0;
  for (const Memory* m : all) bytes += m->size();
  if (bytes <= kKeep) return;
  for (Memory* m : all) *m = Memory();
}

Epilogue Frame::epilogue(const Op& op) const {
  const Tensor& out = plan.tensors[op.output];
  Epilogue e = {};
  e.low = op.low, e.high = op.high;
  e.out_zero = out.zero;
  e.pitch = op.linear.rows;
  if (plan.is_float || out.storage == Storage::full) e.floats = floats(op.output);
  else e.codes = bytes(op.output);
  if (op.linear.rows > 0) {
    if (plan.is_float) {
      e.float_bias = plan.memory.as<float>(op.linear.bias_at);
    } else {
      e.bias = plan.memory.as<int32_t>(op.linear.bias_at);
      e.multipliers = plan.memory.as<float>(op.linear.scales_at);
    }
  }
  if (op.residual >= 0) {
    const uint32_t r = static_cast<uint32_t>(op.residual);
    if (plan.is_float) e.float_residual = floats(r);
    else e.residual = bytes(r);
    e.residual_zero = plan.tensors[r].zero;
    e.residual_multiplier = op.residual_multiplier;
  }
  return e;
}

namespace {

/** One group of images through the ops of one stage; the first stage reads the input, the last one gives the logits. */
void run_stage(const Frame& f, const Stage& stage, const float* input, float* logits) {
  const Plan& plan = f.plan;
  if (stage.first_op == 0) {
    const Tensor& in = plan.tensors[plan.input];
    const size_t n = in.elements * f.images;
    const float* from = input + in.elements * f.first;
    if (plan.is_float) {
      std::memcpy(f.floats(plan.input), from, 4 * n);
      finish(f, plan.input);
    } else {
      f.kernels.quantize(from, n, 1.0f / in.scale, in.zero, top_of(in), f.bytes(plan.input));
    }
  }
  for (size_t i = stage.first_op; i < stage.end_op; i++) {
    run_op(f, plan.ops[i]);
    if (plan.is_float) finish(f, plan.ops[i].output);
  }
  if (stage.end_op == plan.ops.size()) {
    const size_t n = plan.tensors[plan.output].elements;
    std::memcpy(logits + n * f.first, f.floats(plan.output), 4 * n * f.images);
  }
}

}  // namespace

void execute(const Plan& plan, const Kernels& kernels, const float* input, size_t images, float* logits,
             Scratch& scratch, Team& team) {
  scratch.images.ensure(plan.image_bytes * images);
  scratch.group.ensure(plan.group_bytes);
  for (const Stage& stage : plan.stages) {
    for (size_t first = 0; first < images; first += stage.group) {
      const Frame f = {plan, kernels, images, first, std::min(stage.group, images - first), scratch, team};
      run_stage(f, stage, input, logits);
    }
  }
}

}  // namespace bitdial
