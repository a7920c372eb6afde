// Operations that treat each token alone: norms, sums, gates, rotations, and rows for the cache of
// keys and values. llama.cpp's own take as long as a sixth of the products that AMX computes.
//
// A run of such operations is one job. Its pieces are ranges of tokens, and a piece passes through
// all operations of the run while it is in the cache:
//
//               tokens 0-31   32-63    …
//   add              │          │
//   norm             │          │          one thread goes down a column
//   multiply         ▼          ▼
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "cpu.h"

namespace jlocal {

// The kernels for one instruction set. `n` values, a multiple of 8; y may be x, a or b.
struct TokenKernels {
    bool (*runs_on)(const Cpu&);
    // y = x / sqrt(mean of squares + epsilon), and that times w
    void (*norm)(const float* x, int64_t n, float epsilon, float* y);
    void (*norm_and_multiply)(const float* x, const float* w, int64_t n, float epsilon, float* y);
    void (*add)(const float* a, const float* b, int64_t n, float* y);
    void (*multiply)(const float* a, const float* b, int64_t n, float* y);
    // y = a / (1 + exp(-a)) * b
    void (*gate)(const float* a, const float* b, int64_t n, float* y);
    // Rotate the pairs (x[i], x[i + n / 2]), for which n / 2 cosines and n / 2 sines are given; n a
    // multiple of 16.
    void (*rotate)(const float* x, const float* cosines, int64_t n, float* y);
    void (*to_half)(const float* x, int64_t n, uint16_t* y);
};

// Those that run on this processor, or nullptr.
const TokenKernels* token_kernels();

}  // namespace jlocal
