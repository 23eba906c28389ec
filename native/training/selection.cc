#include "selection.h"

namespace bitdial::training {

std::vector<const Kernels*> all_kernels() {
  std::vector<const Kernels*> found;
  for (const Kernels* k : {avx512_kernels(), avx2_kernels(), portable_kernels()}) {
    if (k) found.push_back(k);
  }
  return found;
}

const Kernels& find_kernels(const std::string& isa) {
  for (const Kernels* k : all_kernels()) {
    if (isa.empty() || isa.starts_with(k->name)) return *k;
  }
  return *portable_kernels();
}

}  // namespace bitdial::training
