// Runs of operations that treat each token alone; see tokenwise.h.
#pragma once
#include <vector>

#include "abi.h"
#include "family.h"
#include "scratch.h"
#include "threads.h"

namespace jlocal {

// Cosines and sines of the tokens' positions, kept from one rotation to the next of a graph.
class Rotations {
public:
    // Forget them, before another graph.
    void clear() { made_for_ = nullptr; }
    // Rows of n / 2 cosines and n / 2 sines, one for each token; nullptr if there is no memory.
    const float* of(const ggml::Tensor* rotation, Threads& threads);

private:
    const ggml::Tensor* made_for_ = nullptr;
    Scratch scratch_;
};

// The nodes of a graph that compute something.
std::vector<ggml::Tensor*> operations(ggml::Graph* graph);

// Whether an operation is one of these, with shapes and parameters that are computed here.
bool is_tokenwise(const ggml::Tensor* op);

// How many of the `count` operations from the first on can be computed as one run; at least 1.
int run_length(ggml::Tensor* const* ops, int count);

// Rows of a product that follows a run: those that the last operation of the run makes, converted.
struct Conversion {
    const Family* family;
    uint8_t* rows;  // of product.h's rows_for
};

// Compute such a run, and convert its rows for a product while they are in the cache, unless `conversion` is
// nullptr. Returns false if there is no memory, or a row is outside the cache.
bool compute_run(ggml::Tensor* const* ops, int count, const Conversion* conversion, Rotations& rotations, Threads& threads);

}  // namespace jlocal
