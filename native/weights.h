// Buffers whose tensors are packed while they are filled, a buffer type for each family.
#pragma once
#include "abi.h"
#include "family.h"

namespace jlocal {

// The buffer type of a family; it belongs to the device that llama.cpp asks for buffer types.
ggml::BufferType* buffer_type(const Family& family, ggml::Device* device);

// The family that packs a matrix for a buffer type; nullptr if the type is not ours.
const Family* family_of(const ggml::BufferType* type, const ggml::Tensor* w);

bool is_ours(const ggml::BufferType* type);

// Whether a tensor is a matrix of a layer that can be packed. The vocabulary head is none: while it
// is with the CPU's backend, a callback can end the graph before it.
bool packs(const ggml::Tensor* w);

void set_packing_threads(int count);

}  // namespace jlocal
