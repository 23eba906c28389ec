#pragma once

#include <string>
#include <vector>

#include "kernels.h"

namespace bitdial {

/** What this processor can run, the fastest first. */
std::vector<const Kernels*> all_kernels();

/** The fastest, or the one of that name; null where there is none. */
const Kernels* find_kernels(const std::string& isa);

}  // namespace bitdial
