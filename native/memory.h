#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace bitdial {

/** Bytes that all plans of the process hold; what `memoryBytes` of a variant adds to it. */
inline std::atomic<size_t> g_plan_bytes{0};

/** Zeroed bytes on a cache line of their own, with slack that kernels may read past the end. */
class Memory {
 public:
  Memory() = default;
  explicit Memory(size_t size) : size_(size), data_(allocate(rounded(size))) {
    if (!data_) throw std::bad_alloc();
    std::memset(data_, 0, rounded(size));
  }
  Memory(Memory&& other) noexcept { swap(other); }
  Memory& operator=(Memory&& other) noexcept {
    swap(other);
    return *this;
  }
  ~Memory() { std::free(data_); }

  uint8_t* data() const { return data_; }
  template <typename T>
  T* as(size_t byte_offset = 0) const {
    return reinterpret_cast<T*>(data_ + byte_offset);
  }
  size_t size() const { return size_; }

  /** At least `size` bytes; what was in it is lost when it grows. */
  uint8_t* ensure(size_t size) {
    if (size > size_ || !data_) *this = Memory(size);
    return data_;
  }

 private:
  static size_t rounded(size_t size) { return (size + 128 + 63) / 64 * 64; }

  /** In huge pages where there are such, as far as they are full: weights then come from memory a fifth faster. */
  static uint8_t* allocate(size_t bytes) {
#if defined(__linux__)
    constexpr size_t kHuge = size_t{2} << 20;
    if (bytes >= kHuge) {
      void* data = std::aligned_alloc(kHuge, bytes);
      if (data) madvise(data, bytes / kHuge * kHuge, MADV_HUGEPAGE);
      return static_cast<uint8_t*>(data);
    }
#endif
    return static_cast<uint8_t*>(std::aligned_alloc(64, bytes));
  }

  void swap(Memory& other) {
    std::swap(size_, other.size_);
    std::swap(data_, other.data_);
  }

  size_t size_ = 0;
  uint8_t* data_ = nullptr;
};

}  // namespace bitdial
