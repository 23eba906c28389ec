#include "reader.h"

namespace bitdial {
namespace {

constexpr double kMagic = 0xb17d1a1;
constexpr double kVersion = 2;

class Loader {
 public:
  Loader(Reader& in, Plan& plan) : in_(in), plan_(plan) {}

  void load() {
    if (in_.number("first word") != kMagic) fail("first word", "the mark of a plan", "another");
    if (in_.number("version") != kVersion) fail("version", "2", "another");
    plan_.is_float = in_.integer("mode", 0, 1) == 1;
    const int64_t tensors = in_.integer("tensors", 1, 65536), ops = in_.integer("ops", 1, 65536);
    plan_.input = static_cast<uint32_t>(in_.integer("input", 0, tensors - 1));
    plan_.output = static_cast<uint32_t>(in_.integer("output", 0, tensors - 1));
    plan_.source_count = static_cast<size_t>(in_.integer("sources", 0, 1 << 20));
    for (int64_t i = 0; i < tensors; i++) tensor(static_cast<uint32_t>(i));
    const Tensor& input = plan_.tensors[plan_.input];
    if (input.root != plan_.input) fail("input", "a tensor of its own", "a view");
    if (!plan_.is_float && input.storage != Storage::codes) fail("input", "codes", "floats");
    plan_.tensors[plan_.input].written = true;
    for (int64_t i = 0; i < ops; i++) op();
    const Tensor& output = plan_.tensors[plan_.output];
    if (output.root != plan_.output || plan_.output == plan_.input) fail("output", "a tensor of its own", "a view");
    if (!output.written) fail("output", "a tensor that an op writes", "none");
    if (output.storage != Storage::full) fail("output", "float32", "codes");
    if (!in_.done()) fail("end", "no more words", "some");
  }

 private:
  void tensor(uint32_t index) {
    Tensor t = {};
    t.height = static_cast<uint32_t>(in_.integer("height", 1, 1 << 20));
    t.width = static_cast<uint32_t>(in_.integer("width", 1, 1 << 20));
    t.channels = static_cast<uint32_t>(in_.integer("channels", 1, 1 << 26));
    const uint64_t pixels = uint64_t{t.height} * t.width;
    if (pixels > kMostElements || pixels * t.channels > kMostElements) fail("tensor", "at most 2^28 elements", "more");
    t.elements = static_cast<size_t>(pixels * t.channels);
    t.storage = static_cast<Storage>(in_.integer("storage", 0, 2));
    t.bits = static_cast<int>(in_.integer("bits", t.storage == Storage::codes ? 1 : 0, 8));
    t.scale = in_.single("scale");
    if (t.storage == Storage::codes && !(t.scale > 0)) fail("scale", "a number above 0", shown(t.scale));
    t.zero = static_cast<int32_t>(in_.integer("zero point", 0, (1 << t.bits) - 1));
    if (!plan_.is_float && t.storage == Storage::half) fail("storage", "codes or float32", "float16");
    const int64_t view = in_.integer("view", -1, static_cast<int64_t>(index) - 1);
    t.root = view < 0 ? index : plan_.tensors[static_cast<size_t>(view)].root;
    if (view >= 0 && !same_storage(t, plan_.tensors[t.root])) fail("view", "the storage of its tensor", "another");
    if (view >= 0 && t.elements != plan_.tensors[t.root].elements) fail("view", "as many elements", "others");
    plan_.tensors.push_back(t);
  }

  static bool same_storage(const Tensor& a, const Tensor& b) {
    return a.storage == b.storage &&
           (a.storage != Storage::codes || (a.bits == b.bits && a.scale == b.scale && a.zero == b.zero));
  }

  uint32_t index(const char* what) {
    return static_cast<uint32_t>(in_.integer(what, 0, static_cast<int64_t>(plan_.tensors.size()) - 1));
  }

  /** A tensor that is there when the op runs. */
  uint32_t source(const char* what) {
    const uint32_t at = index(what);
    if (!plan_.root(at).written) fail(what, "a tensor written before", std::to_string(at));
    if (!plan_.is_float && plan_.tensors[at].storage != Storage::codes) fail(what, "codes", "floats");
    return at;
  }

  void target(Op& op) {
    op.output = index("output");
    Tensor& t = plan_.tensors[op.output];
    if (t.root != op.output) fail("output", "a tensor of its own", "a view");
    if (t.written) fail("output", "a tensor not written before", std::to_string(op.output));
  }

  void bounds(Op& op) {
    const double low = in_.number("low"), high = in_.number("high");
    if (!(low <= high)) fail("bounds", "low <= high", shown(low) + " and " + shown(high));
    op.low = static_cast<float>(low);
    op.high = static_cast<float>(high);
    const Tensor& t = plan_.tensors[op.output];
    if (plan_.is_float || t.storage != Storage::codes) return;
    if (low < -t.zero || high > (1 << t.bits) - 1 - t.zero) fail("bounds", "those of the codes", "wider");
    if (low != std::nearbyint(low) || high != std::nearbyint(high)) {
      fail("bounds", "whole numbers", shown(low) + " and " + shown(high));
    }
  }

  void window(Op& op) {
    const Tensor& in = plan_.tensors[op.inputs[0]];
    const Tensor& out = plan_.tensors[op.output];
    WindowShape& w = op.window;
    w.in_height = in.height, w.in_width = in.width, w.channels = in.channels;
    w.out_height = out.height, w.out_width = out.width;
    for (uint32_t* field : {&w.kernel_height, &w.kernel_width, &w.stride_height, &w.stride_width,
                            &w.dilation_height, &w.dilation_width}) {
      *field = static_cast<uint32_t>(in_.integer("window", 1, 1 << 20));
    }
    w.pad_top = static_cast<uint32_t>(in_.integer("padding", 0, 1 << 20));
    w.pad_left = static_cast<uint32_t>(in_.integer("padding", 0, 1 << 20));
    const uint64_t height = span(w.out_height, w.stride_height, w.kernel_height, w.dilation_height);
    const uint64_t width = span(w.out_width, w.stride_width, w.kernel_width, w.dilation_width);
    const uint64_t channels = uint64_t{in.channels} * op.channel_multiplier;
    if (height > kMostElements || width > kMostElements || channels > kMostElements ||
        height * width > kMostElements || height * width * channels > kMostElements) {
      fail("window", "at most 2^28 elements under it", "more");
    }
  }

  static uint64_t span(uint64_t out, uint64_t stride, uint64_t kernel, uint64_t dilation) {
    return (out - 1) * stride + (kernel - 1) * dilation + 1;
  }

  /** A pool needs a position of the image under every window. */
  void check_cover(const WindowShape& w) const {
    const auto covered = [](uint32_t out, uint32_t stride, uint32_t kernel, uint32_t dilation, uint32_t pad,
                            uint32_t size) {
      if (uint64_t{out} * kernel > uint64_t{1} << 24) return false;
      for (int64_t o = 0; o < out; o++) {
        bool found = false;
        for (int64_t k = 0; k < kernel && !found; k++) {
          const int64_t at = o * stride - pad + k * dilation;
          found = at >= 0 && at < size;
        }
        if (!found) return false;
      }
      return true;
    };
    if (!covered(w.out_height, w.stride_height, w.kernel_height, w.dilation_height, w.pad_top, w.in_height) ||
        !covered(w.out_width, w.stride_width, w.kernel_width, w.dilation_width, w.pad_left, w.in_width)) {
      fail("window", "some of the image under every position", "none");
    }
  }

  void same_channels(const Op& op) const {
    if (plan_.tensors[op.inputs[0]].channels != plan_.tensors[op.output].channels) {
      fail("channels", "as many out as in", "others");
    }
  }

  void same_elements(const Op& op, uint32_t input) const {
    if (plan_.tensors[input].elements != plan_.tensors[op.output].elements) {
      fail("elements", "as many out as in", "others");
    }
  }

  void keeps_storage(const Op& op) const {
    if (!same_storage(plan_.tensors[op.inputs[0]], plan_.tensors[op.output])) {
      fail("storage", "the same out as in", "another");
    }
  }

  void op() {
    Op op;
    op.kind = static_cast<Kind>(in_.integer("op", 0, 8));
    switch (op.kind) {
      case Kind::conv:
      case Kind::depthwise:
      case Kind::dense:
        linear(op);
        break;
      case Kind::max_pool:
      case Kind::avg_pool:
        op.inputs = {source("input")};
        target(op);
        if (op.kind == Kind::avg_pool) {
          bounds(op);
          op.ratio = in_.finite("ratio", 0, 1e300);
        } else {
          keeps_storage(op);
        }
        window(op);
        check_cover(op.window);
        same_channels(op);
        break;
      case Kind::add:
      case Kind::concat:
        several(op);
        break;
      case Kind::pad: {
        op.inputs = {source("input")};
        target(op);
        keeps_storage(op);
        same_channels(op);
        const Tensor &in = plan_.tensors[op.inputs[0]], &out = plan_.tensors[op.output];
        if (out.height < in.height || out.width < in.width) fail("pad", "an output not smaller", "a smaller one");
        op.top = static_cast<uint32_t>(in_.integer("top", 0, out.height - in.height));
        op.left = static_cast<uint32_t>(in_.integer("left", 0, out.width - in.width));
        break;
      }
      case Kind::requantize:
        op.inputs = {source("input")};
        target(op);
        bounds(op);
        op.multipliers = {in_.single("multiplier")};
        same_elements(op, op.inputs[0]);
        break;
    }
    plan_.tensors[op.output].written = true;
    plan_.ops.push_back(std::move(op));
  }

  void several(Op& op) {
    target(op);
    bounds(op);
    const bool concat = op.kind == Kind::concat;
    if (concat) op.outer = static_cast<size_t>(in_.integer("outer", 1, static_cast<int64_t>(kMostElements)));
    const int64_t operands = in_.integer("operands", 1, 4096);
    uint64_t total = 0;
    for (int64_t i = 0; i < operands; i++) {
      op.inputs.push_back(source("operand"));
      if (concat) {
        op.inner.push_back(static_cast<size_t>(in_.integer("inner", 1, static_cast<int64_t>(kMostElements))));
        if (op.inner.back() * op.outer != plan_.tensors[op.inputs.back()].elements) {
          fail("concat", "outer × inner elements", "others");
        }
        total += op.inner.back() * op.outer;
      } else {
        same_elements(op, op.inputs.back());
      }
      op.multipliers.push_back(in_.single("multiplier"));
    }
    if (concat && total != plan_.tensors[op.output].elements) fail("concat", "all of the output", "another size");
  }

  int source_index(const char* what, bool optional) {
    return static_cast<int>(in_.integer(what, optional ? -1 : 0, static_cast<int64_t>(plan_.source_count) - 1));
  }

  void linear(Op& op) {
    op.inputs = {source("input")};
    target(op);
    bounds(op);
    op.residual = static_cast<int>(in_.integer("residual", -1, static_cast<int64_t>(plan_.tensors.size()) - 1));
    op.residual_multiplier = in_.single("residual multiplier");
    const Tensor &in = plan_.tensors[op.inputs[0]], &out = plan_.tensors[op.output];
    if (op.residual >= 0) {
      const Tensor& r = plan_.tensors[static_cast<size_t>(op.residual)];
      if (!plan_.tensors[r.root].written) fail("residual", "a tensor written before", std::to_string(op.residual));
      if (!plan_.is_float && r.storage != Storage::codes) fail("residual", "codes", "floats");
      if (r.elements != out.elements) fail("residual", "as many elements as the output", "others");
    }
    Linear& l = op.linear;
    l.bits = static_cast<int>(in_.integer("weight bits", 2, 32));
    if (l.bits > 8 && l.bits != 16 && l.bits != 32) fail("weight bits", "2..8, 16 or 32", std::to_string(l.bits));
    if (!plan_.is_float && l.bits > 8) fail("weight bits", "2..8", std::to_string(l.bits));
    l.rows = static_cast<size_t>(in_.integer("rows", 1, 1 << 26));
    l.columns = static_cast<size_t>(in_.integer("columns", 1, 1 << 28));
    if (uint64_t{l.rows} * l.columns > uint64_t{1} << 30) fail("weights", "at most 2^30", "more");
    LinearSource& s = op.source;
    s.rule = static_cast<Rule>(in_.integer("rule", 0, 2));
    s.correction = source_index("correction", true);
    s.affine = in_.integer("affine", 0, 1) == 1;
    s.kernel = source_index("kernel", s.affine);
    s.bias = source_index("bias", true);
    s.gamma = source_index("gamma", true);
    s.beta = source_index("beta", true);
    s.mean = source_index("mean", true);
    s.variance = source_index("variance", true);
    s.epsilon = in_.finite("epsilon", 0, 1e6);
    if ((s.mean < 0) != (s.variance < 0) || (s.affine && s.mean < 0)) fail("batch norm", "mean and variance", "one");
    uint64_t columns = in.elements;
    if (op.kind == Kind::depthwise) {
      op.channel_multiplier = static_cast<uint32_t>(in_.integer("channel multiplier", 1, 1 << 16));
    }
    if (op.kind != Kind::dense) {
      window(op);
      columns = uint64_t{op.window.kernel_height} * op.window.kernel_width;
      if (columns > kMostElements) fail("window", "a smaller one", "a larger one");
      if (op.kind == Kind::conv) columns *= in.channels;
      if (l.rows != out.channels) fail("rows", "as many as output channels", std::to_string(l.rows));
      if (op.kind == Kind::depthwise && uint64_t{in.channels} * op.channel_multiplier != l.rows) {
        fail("rows", "input channels times the multiplier", std::to_string(l.rows));
      }
    } else {
      if (l.rows != out.elements) fail("rows", "as many as outputs", std::to_string(l.rows));
      op.window = {1, 1, in.channels, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0};
    }
    if (columns != l.columns) fail("columns", std::to_string(columns), std::to_string(l.columns));
    if (s.affine && l.columns != 1) fail("affine", "one column", std::to_string(l.columns));
    plan_.macs += static_cast<double>(out.elements) * static_cast<double>(l.columns);
  }

  Reader& in_;
  Plan& plan_;
};

}  // namespace

void read_plan(Reader& reader, Plan& plan) { Loader(reader, plan).load(); }

}  // namespace bitdial
