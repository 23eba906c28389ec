#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>

#if !defined(_WIN32)
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#endif

namespace bitdial {

/** A file's bytes, read where they are needed and let go with the object. Versions' files never change. */
class MappedFile {
 public:
  explicit MappedFile(const std::string& path) {
#if defined(_WIN32)
    throw std::runtime_error(path + ": files cannot be mapped here");
#else
    const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    struct stat info = {};
    if (file < 0 || fstat(file, &info) != 0) {
      if (file >= 0) close(file);
      throw std::runtime_error(path + ": cannot be read");
    }
    size_ = static_cast<size_t>(info.st_size);
    int flags = MAP_PRIVATE;
#if defined(MAP_POPULATE)
    flags |= MAP_POPULATE;
#endif
    void* data = size_ == 0 ? nullptr : mmap(nullptr, size_, PROT_READ, flags, file, 0);
    close(file);
    if (data == MAP_FAILED) throw std::runtime_error(path + ": cannot be mapped");
    data_ = static_cast<const char*>(data);
#endif
  }
  MappedFile(const MappedFile&) = delete;
  ~MappedFile() {
#if !defined(_WIN32)
    if (data_) munmap(const_cast<char*>(data_), size_);
#endif
  }
  const char* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  const char* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace bitdial
