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

// Memory in `scratch` for M rows of x that are converted for a product with w, one after another; nullptr
// if there is none. They stay where they are for a product of the same rows with another matrix.
uint8_t* rows_for(const Packed& w, int64_t M, Scratch& scratch, const Threads& threads);

// out[m * N + n] = sum over k of x[m][k] * W[n][k]. The rows of x are converted into those of rows_for,
// unless they are `converted` already: by the product before, or with the operation that made them. `next` is
// the matrix of the product that follows, or nullptr.
// Returns false if there is no memory.
bool multiply(const Packed& w, const Input& x, bool converted, const Packed* next, float* out, Scratch& scratch, Threads& threads);

// Whether the rows of a product with `down` can be made by multiply_gated.
bool can_gate(const Packed& gate, const Packed& up, const Packed& down);

// The rows of a product with `down`, converted, in rows_for(down, …, result, …): g / (1 + exp(-g)) * u of the
// products g with `gate` and u with `up`, which are not kept. Otherwise as multiply.
bool multiply_gated(const Packed& gate, const Packed& up, const Input& x, bool converted, const Packed& down, Scratch& scratch, Scratch& result, Threads& threads);

}  // namespace jlocal
