// Divides attention into pieces for the threads.
#include "attention.h"

#include <algorithm>

#include "scratch.h"
#include "threads.h"

namespace jlocal {
namespace {

// Queries in a piece: their state fits into the second-level cache beside a block of keys.
constexpr int64_t kQueries = 1024;
// Below this number of multiplications, waking another thread takes longer than it saves.
constexpr int64_t kWorthSharing = 2'000'000;

size_t pages(size_t size) { return (size + 4095) / 4096 * 4096; }

}  // namespace

bool attend(const AttentionKernels& kernels, const Attention& a, Scratch& scratch, Threads& threads) {
    if (a.queries == 0) return true;
    const int64_t tiles = (a.queries + kTile - 1) / kTile, sub_blocks = (a.keys + kSubBlock - 1) / kSubBlock;
    const bool alone = a.queries * a.keys * a.heads * (a.D + a.DV) < kWorthSharing;
    const int64_t workers = alone ? 1 : threads.count();
    const int64_t group = a.heads / a.key_heads;
    int64_t height = std::max<int64_t>(1, kQueries / kTile / group);
    // More pieces than threads, since the pieces of a causal mask differ in length.
    while (height > 1 && a.key_heads * ((tiles + height - 1) / height) < 4 * workers) height = (height + 1) / 2;
    const int64_t parts = (tiles + height - 1) / height;

    const size_t flags = pages((size_t)(tiles * sub_blocks)), one = pages(kernels.scratch_size(a, height));
    uint8_t* left = scratch.take(flags + one * workers);
    if (!left) return false;
    const auto look = [&](int64_t tile, int) {
        for (int64_t b = 0; b < sub_blocks; b++) left[tile * sub_blocks + b] = kernels.left(a, tile, b);
    };
    const auto compute = [&](int64_t number, int thread) {
        const int64_t first = (parts - 1 - number % parts) * height;  // the longest of a causal mask first
        const AttentionPiece piece{number / parts, first, std::min(tiles, first + height), left, sub_blocks};
        kernels.compute(a, piece, left + flags + one * thread);
    };
    if (alone) {
        for (int64_t tile = 0; tile < tiles; tile++) look(tile, 0);
        for (int64_t number = 0; number < a.key_heads * parts; number++) compute(number, 0);
    } else {
        threads.run(tiles, look);
        threads.run(a.key_heads * parts, compute);
    }
    return true;
}

}  // namespace jlocal
