#include "plan.h"

#include <algorithm>
#include <utility>

#include "packing.h"
#include "reader.h"
#include "winograd.h"

namespace bitdial {
namespace {

/** Of the caches: a vector of weights that lies across two takes two loads, which is a tenth of a convolution's time on a Zen 5. */
constexpr size_t kLine = 64;

/** Where a layer's weights, bias and scales lie; `at` goes on. */
void place(const Plan& plan, Op& op, size_t& at) {
  Linear& l = op.linear;
  const auto take = [&at](size_t bytes, size_t alignment) {
    const size_t begin = (at + alignment - 1) / alignment * alignment;
    at = begin + bytes;
    return begin;
  };
  l.bias_at = take(4 * l.rows, 4);
  if (!plan.is_float || l.bits <= 8) l.scales_at = take(4 * l.rows, 4);
  if (plan.is_float) {
    // Blocks of 16 rows, [column][row]; the last holds only the rows there are. Depthwise: one block of all.
    const auto bytes = [&l](size_t count) { return l.bits <= 8 ? packed_bytes(count, l.bits) : count * l.bits / 8; };
    const size_t lanes = op.kind == Kind::depthwise ? l.rows : kLanes;
    l.full_blocks = l.rows / lanes;
    l.block_bytes = bytes(lanes * l.columns);
    l.full_at = take(l.full_blocks * l.block_bytes, kLine);
    l.tail_at = take(bytes((l.rows - l.full_blocks * lanes) * l.columns), 4);
    return;
  }
  const Tensor& in = plan.tensors[op.inputs[0]];
  l.wide = 2 * ((1 << in.bits) - 1) * (1 << (l.bits - 1)) > 32767;
  l.groups = (l.columns + 3) / 4;
  const bool rows_run = op.window.dilation_width == 1;
  const size_t run = op.kind == Kind::conv ? (rows_run ? op.window.kernel_width : 1) * in.channels : l.columns;
  l.gathered = run % 4 != 0;
  // Padding of the last group, in the kernels' layout, is kept below 1 %; else the rows are one tight stream.
  const bool tight = op.kind == Kind::depthwise || (4 * l.groups - l.columns) * 100 > l.columns;
  l.full_blocks = tight ? 0 : l.rows / kLanes;
  l.block_bytes = l.groups * 8 * static_cast<size_t>(l.bits);
  l.full_at = take(l.full_blocks * l.block_bytes, l.full_blocks > 0 ? kLine : 1);
  l.tail_at = take(packed_bytes(l.tail_rows() * l.columns, l.bits), 1);
  l.winograd = winograd_suits(plan, op) ? WinogradUse::where_it_pays : WinogradUse::never;
}

size_t bytes_of(const Plan& plan, const Tensor& t) {
  return (t.elements * plan.element_bytes(t) + kSlack + 63) / 64 * 64;
}

/** Images whose tensors around an op fit into most of the second cache; more where its weights, read once for all, are larger. */
size_t group_of(const Plan& plan, const Op& op) {
  constexpr size_t kCache = 512 * 1024;
  const size_t most = std::max(kCache, op.linear.full_blocks * op.linear.block_bytes);
  size_t bytes = bytes_of(plan, plan.tensors[op.output]);
  for (const uint32_t input : op.inputs) bytes += bytes_of(plan, plan.tensors[input]);
  if (op.residual >= 0) bytes += bytes_of(plan, plan.tensors[static_cast<size_t>(op.residual)]);
  size_t group = 1;
  while (group < kChunk && 2 * group * bytes <= most) group *= 2;
  return group;
}

void find_stages(Plan& plan) {
  for (size_t i = 0; i < plan.ops.size(); i++) {
    const size_t group = group_of(plan, plan.ops[i]);
    if (plan.stages.empty() || plan.stages.back().group != group) plan.stages.push_back({i, i, group});
    plan.stages.back().end_op = i + 1;
  }
}

/** The first and the last op that use a tensor. */
struct Life {
  size_t begin = SIZE_MAX, end = 0;
};

std::vector<Life> lives_of(const Plan& plan) {
  std::vector<Life> lives(plan.tensors.size());
  const auto use = [&](uint32_t tensor, size_t when) {
    Life& life = lives[plan.tensors[tensor].root];
    if (life.begin == SIZE_MAX) life.begin = when;
    life.end = when;
  };
  use(plan.input, 0);
  for (size_t i = 0; i < plan.ops.size(); i++) {
    const Op& op = plan.ops[i];
    for (const uint32_t input : op.inputs) use(input, i);
    if (op.residual >= 0) use(static_cast<uint32_t>(op.residual), i);
    use(op.output, i);
  }
  use(plan.output, plan.ops.size() - 1);
  return lives;
}

/** Gives each tensor bytes that no tensor alive at the same time has; a shared one lives for whole stages. */
void place_tensors(Plan& plan) {
  const auto stage_of = [&](size_t op) {
    return std::find_if(plan.stages.begin(), plan.stages.end(), [&](const Stage& s) { return op < s.end_op; });
  };
  std::vector<Life> lives = lives_of(plan);
  for (uint32_t i = 0; i < plan.tensors.size(); i++) {
    Life& life = lives[i];
    if (life.begin == SIZE_MAX) continue;
    const auto first = stage_of(life.begin), last = stage_of(life.end);
    plan.tensors[i].shared = first != last;
    if (first != last) life = {first->first_op, last->end_op - 1};
  }
  std::vector<uint32_t> placed;
  for (uint32_t i = 0; i < plan.tensors.size(); i++) {
    if (lives[i].begin == SIZE_MAX) continue;
    Tensor& t = plan.tensors[i];
    const size_t bytes = bytes_of(plan, t);
    size_t at = 0;
    for (bool moved = true; moved;) {
      moved = false;
      for (const uint32_t other : placed) {
        if (plan.tensors[other].shared != t.shared) continue;
        const bool together = lives[other].begin <= lives[i].end && lives[i].begin <= lives[other].end;
        const size_t begin = plan.tensors[other].offset, end = begin + bytes_of(plan, plan.tensors[other]);
        if (together && at < end && begin < at + bytes) {
          at = end;
          moved = true;
        }
      }
    }
    t.offset = at;
    placed.push_back(i);
    if (t.shared) {
      plan.image_bytes = std::max(plan.image_bytes, at + bytes);
    } else {
      plan.group_bytes = std::max(plan.group_bytes, (at + bytes) * stage_of(lives[i].begin)->group);
    }
  }
  if (std::max(plan.image_bytes, plan.group_bytes) > kMostBytes) fail("tensors", "at most 1 GiB for an image", "more");
}

void check_sources(const Op& op, const std::vector<Source>& sources) {
  const LinearSource& s = op.source;
  const auto check = [&](const char* what, int index, size_t length) {
    if (index < 0) return;
    const size_t actual = sources[static_cast<size_t>(index)].length;
    if (actual != length) fail(what, std::to_string(length) + " numbers", std::to_string(actual));
  };
  check("kernel", s.kernel, op.linear.rows * op.linear.columns);
  const std::pair<const char*, int> vectors[] = {{"bias", s.bias}, {"gamma", s.gamma}, {"beta", s.beta},
                                                 {"mean", s.mean}, {"variance", s.variance}, {"correction", s.correction}};
  for (const auto& [what, index] : vectors) check(what, index, op.linear.rows);
}

bool is_linear(const Op& op) { return op.kind == Kind::conv || op.kind == Kind::depthwise || op.kind == Kind::dense; }

}  // namespace

void load_plan(const double* words, size_t count, const std::vector<Source>& sources, Plan& plan) {
  Reader reader(words, count);
  read_plan(reader, plan);
  if (plan.source_count != sources.size()) {
    fail("sources", std::to_string(plan.source_count), std::to_string(sources.size()));
  }
  size_t at = 0;
  for (Op& op : plan.ops) {
    if (!is_linear(op)) continue;
    check_sources(op, sources);
    place(plan, op, at);
    if (at > 16 * kMostBytes) fail("weights", "at most 16 GiB", "more");
  }
  find_stages(plan);
  place_tensors(plan);
  plan.memory = Memory(at);
  g_plan_bytes += at;
}

}  // namespace bitdial
