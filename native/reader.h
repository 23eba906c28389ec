#pragma once

#include <cmath>
#include <string>

#include "plan.h"

namespace bitdial {

constexpr uint64_t kMostElements = uint64_t{1} << 28;
constexpr uint64_t kMostBytes = uint64_t{1} << 30;

inline std::string shown(double v) {
  std::string text = std::to_string(v);
  if (text.find('.') != std::string::npos) {
    while (text.back() == '0') text.pop_back();
    if (text.back() == '.') text.pop_back();
  }
  return text;
}

[[noreturn]] inline void fail(const std::string& what, const std::string& expected, const std::string& actual) {
  throw PlanError("plan: " + what + ": expected " + expected + ", got " + actual);
}

/** A list of numbers, read from the front, each held against what it may be. */
class Reader {
 public:
  Reader(const double* words, size_t count) : words_(words), count_(count) {}

  double number(const char* what) {
    if (at_ >= count_) fail(what, "a number", "the end");
    return words_[at_++];
  }

  double finite(const char* what, double low, double high) {
    const double v = number(what);
    if (!(v >= low && v <= high)) fail(what, "a number from " + shown(low) + " to " + shown(high), shown(v));
    return v;
  }

  int64_t integer(const char* what, int64_t low, int64_t high) {
    const double v = finite(what, static_cast<double>(low), static_cast<double>(high));
    if (v != std::floor(v)) fail(what, "a whole number", shown(v));
    return static_cast<int64_t>(v);
  }

  float single(const char* what) {
    const double v = number(what);
    if (!std::isfinite(v) || static_cast<double>(static_cast<float>(v)) != v) fail(what, "a float32", shown(v));
    return static_cast<float>(v);
  }

  bool done() const { return at_ == count_; }

 private:
  const double* words_;
  size_t count_, at_ = 0;
};

/** Fills a plan's tensors and ops from its description, all but where they lie in memory. */
void read_plan(Reader& reader, Plan& plan);

}  // namespace bitdial
