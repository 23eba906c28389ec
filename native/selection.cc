#include "selection.h"

namespace bitdial {

std::vector<const Kernels*> all_kernels() {
  std::vector<const Kernels*> found;
  for (const Kernels* k : {amx_kernels(), avx512_vnni_kernels(), avx2_kernels(), neon_kernels(), portable_kernels()}) {
    if (k) found.push_back(k);
  }
  return found;
}

const Kernels* find_kernels(const std::string& isa) {
  for (const Kernels* k : all_kernels()) {
    if (isa.empty() || isa == k->name) return k;
  }
  return nullptr;
}

}  // namespace bitdial
