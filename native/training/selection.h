#pragma once

#include <string>
#include <vector>

#include "kernels.h"

namespace bitdial::training {

/** What this processor can run, the fastest first. */
std::vector<const Kernels*> all_kernels();

/**
 * The fastest, or the one that a name of the engine's instruction sets begins with (avx512-vnni: avx512); else the portable
 * one, which on Arm is compiled for its vectors.
 */
const Kernels& find_kernels(const std::string& isa);

}  // namespace bitdial::training
