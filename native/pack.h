// Weights of a GGUF file, packed for a family.
#pragma once
#include "abi.h"
#include "family.h"
#include "threads.h"

namespace jlocal {

// Whether rows of a type can be read.
bool readable(ggml::Type type);

// Pack N rows of K values of a type, one after another. Returns false if there is no memory.
bool pack(const Family& family, ggml::Type type, const void* rows, int64_t N, int64_t K, uint8_t* panels, Threads& threads);

}  // namespace jlocal
