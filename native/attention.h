// Attention: out = softmax(scale * Q K^T + mask) V, for each head, without ever holding all scores.
//
// The keys are taken in blocks. For each query the highest score so far, the sum of the weights and
// the weighted sum of values are kept, and scaled down when a block brings a higher score (Milakov
// and Gimelshein, https://arxiv.org/abs/1805.02867; Dao et al., https://arxiv.org/abs/2205.14135).
// Memory grows neither with keys nor with queries.
//
// A piece of work is one head of keys and a range of tiles of queries, from all heads that share
// these keys: a block of keys is packed once and used for every tile of the piece.
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "cpu.h"

namespace jlocal {

struct Attention {
    // Bytes lie `row` apart from token to token, and `head` apart from head to head.
    struct Rows {
        const uint8_t* data;
        size_t row, head;
    };
    Rows q;               // float32, D values
    Rows k, v;            // float16, D and DV values
    const uint8_t* mask;  // float16, added to the scores of all heads; nullptr for none
    size_t mask_row;
    float* out;  // [queries][heads][DV]
    int64_t D, DV, queries, keys, heads, key_heads;
    float scale;  // positive
    // If not nullptr, the result is written here in place of `out`, in bfloat16, each query `bf16_row` bytes
    // after the one before; by kernels with writes_bf16.
    uint8_t* bf16 = nullptr;
    size_t bf16_row = 0;
};

inline constexpr int kTile = 32;      // queries of a tile
inline constexpr int kSubBlock = 64;  // keys with one flag
inline constexpr int kSubBlocks = 8;  // of a block

// How much of a sub-block of keys the mask leaves visible to a tile of queries.
enum Left : uint8_t { kNothing, kSomething, kEverything };

struct AttentionPiece {
    int64_t key_head, first_tile, last_tile;  // the last one excluded
    const uint8_t* left;                      // [tile][sub-block] of all tiles
    int64_t sub_blocks;                       // of all keys
};

// The kernels for one instruction set.
struct AttentionKernels {
    const char* name;
    bool (*runs_on)(const Cpu&);
    Left (*left)(const Attention&, int64_t tile, int64_t sub_block);
    size_t (*scratch_size)(const Attention&, int64_t tiles);
    void (*compute)(const Attention&, const AttentionPiece&, uint8_t* scratch);
    bool writes_bf16 = false;
};

// The fastest kernels that run on this processor, or those with a name; nullptr if there are none.
const AttentionKernels* attention_kernels(const char* name = nullptr);

}  // namespace jlocal
