// The operations of ggml's graphs that this library computes.
#pragma once
#include <vector>

#include "abi.h"
#include "attend.h"
#include "scratch.h"
#include "threads.h"
#include "tokens.h"

namespace jlocal {

// What a context keeps from one graph to the next.
struct State {
    Threads threads;
    Scratch scratch;
    Scratch made;  // rows for a product, converted by an operation that needs `scratch` itself
    Rotations rotations;
    Visibility visibility;
    std::vector<const void*> large;  // buffers that were moved to large pages
};

// A product with a matrix that is packed.
bool multiplies(const ggml::Tensor* op);

// The product of the hidden states with the matrix of the vocabulary, in the graphs of llama.cpp's decoders.
bool is_head(const ggml::Tensor* op);

bool attends(const ggml::Tensor* op);

// Compute a graph of these and of tokenwise operations.
ggml::Status compute(State& state, ggml::Graph* graph);

}  // namespace jlocal
