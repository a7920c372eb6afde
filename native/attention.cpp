// Divides attention into pieces for the threads.
#include "attend.h"

#include <algorithm>

namespace jlocal {
namespace {

// Queries in a piece: their state fits into the second-level cache beside a block of keys.
constexpr int64_t kQueries = 1024;
// Below this number of multiplications, waking another thread takes longer than it saves.
constexpr int64_t kWorthSharing = 2'000'000;

int64_t tiles_of(const Attention& a) { return (a.queries + kTile - 1) / kTile; }
int64_t sub_blocks_of(const Attention& a) { return (a.keys + kSubBlock - 1) / kSubBlock; }

}  // namespace

const uint8_t* Visibility::of(const AttentionKernels& kernels, const Attention& a, Threads& threads) {
    const int64_t tiles = tiles_of(a), sub_blocks = sub_blocks_of(a);
    uint8_t* flags = scratch_.take((size_t)(tiles * sub_blocks));
    if (!flags || (made_ && mask_ == a.mask && queries_ == a.queries && keys_ == a.keys)) return flags;
    made_ = true;
    mask_ = a.mask;
    queries_ = a.queries;
    keys_ = a.keys;
    const auto look = [&](int64_t tile, int) {
        for (int64_t b = 0; b < sub_blocks; b++) flags[tile * sub_blocks + b] = kernels.left(a, tile, b);
    };
    threads.run(tiles, look);
    return flags;
}

bool attend(const AttentionKernels& kernels, const Attention& a, Visibility& visibility, Scratch& scratch, Threads& threads) {
    if (a.queries == 0) return true;
    const int64_t tiles = tiles_of(a), sub_blocks = sub_blocks_of(a);
    const bool alone = a.queries * a.keys * a.heads * (a.D + a.DV) < kWorthSharing;
    const int64_t workers = alone ? 1 : threads.count();
    const int64_t group = a.heads / a.key_heads;
    int64_t height = std::max<int64_t>(1, kQueries / kTile / group);
    // More pieces than threads, since the pieces of a causal mask differ in length.
    while (height > 1 && a.key_heads * ((tiles + height - 1) / height) < 4 * workers) height = (height + 1) / 2;
    const int64_t parts = (tiles + height - 1) / height;

    const uint8_t* left = visibility.of(kernels, a, threads);
    const size_t one = (kernels.scratch_size(a, height) + 4095) / 4096 * 4096;
    uint8_t* memory = scratch.take(one * workers);
    if (!left || !memory) return false;
    const auto compute = [&](int64_t number, int thread) {
        const int64_t first = (parts - 1 - number % parts) * height;  // the longest of a causal mask first
        const AttentionPiece piece{number / parts, first, std::min(tiles, first + height), left, sub_blocks};
        kernels.compute(a, piece, memory + one * thread);
    };
    if (alone) {
        for (int64_t number = 0; number < a.key_heads * parts; number++) compute(number, 0);
    } else {
        threads.run(a.key_heads * parts, compute);
    }
    return true;
}

}  // namespace jlocal
