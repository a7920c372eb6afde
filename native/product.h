// A product of a packed matrix with rows of float32.
#pragma once
#include "family.h"
#include "scratch.h"
#include "threads.h"

namespace jlocal {

// A matrix of weights, packed: N rows of K values.
struct Packed {
    const Family* family;
    const uint8_t* panels;
    int64_t N, K;
};

size_t packed_size(const Family& family, int64_t N, int64_t K);

// Rows of float32, M of them, one after another.
struct Input {
    const float* rows;
    int64_t M;
};

// out[m * N + n] = sum over k of x[m][k] * W[n][k]. The converted rows stay in `scratch`; `again`
// reuses them, if the product before had the same x.
// Returns false if there is no memory.
bool multiply(const Packed& w, const Input& x, bool again, float* out, Scratch& scratch, Threads& threads);

}  // namespace jlocal
