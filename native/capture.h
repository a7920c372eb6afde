// Capture of hidden states, in the callback that llama.cpp's scheduler calls for each tensor of a graph:
// hundreds of times for a batch, which in Python would take as long as a short batch itself.
#pragma once
#include <cstdint>

#include "abi.h"

namespace jlocal {

// The name of the hidden states in the graphs of llama.cpp's decoders.
inline constexpr const char* kHiddenStates = "result_norm";

// Where the rows of a llama_decode call are gathered. The caller resets `count`.
struct Capture {
    float* rows;
    int64_t columns, room;  // room for so many rows
    int64_t count;          // rows so far; -1 after a tensor of another shape or type
};

// A callback for ggml_backend_sched_set_eval_callback; returns whether a tensor is wanted, or false to end
// the graph after it.
bool capture(ggml::Tensor* tensor, bool ask, Capture& capture);

}  // namespace jlocal
