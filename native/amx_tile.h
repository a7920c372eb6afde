// The inner loop of products in bfloat16 with AMX: 32 rows times 32 columns of a panel of 64.
//
//   panel of weights:  [K/32][4][16][16][2]    a row of x:  [K]
//     for each 32 values of K and each 16 columns, one tile; attention has panels as in bf16_tile.h
//
//            B0       B1                     a tile holds 16 rows of 64 bytes: of x, 32 values of 16
//           ┌────────┬────────┐              rows; of weights, 16 pairs of 16 columns; of sums, 16 by 16
//   k, 16   │ 16 x 2 │ 16 x 2 │  of 4        in float32. tdpbf16ps multiplies two such tiles, 8,192
//   pairs   └────────┴────────┘              multiplications, in 16 cycles.
//   A0 ┌──┐ ┌────────┬────────┐
//      └──┘ │ sums 0 │ sums 1 │              4 tiles of sums, 2 of x and 2 of weights are the 8 tiles
//   A1 ┌──┐ ├────────┼────────┤              that there are.
//      └──┘ │ sums 2 │ sums 3 │
//           └────────┴────────┘
//
// The instructions are written out: GCC's functions for them do not tell the compiler which memory
// they read, so that it drops what was stored there.
#pragma once
#include <immintrin.h>

#include "bf16_rows.h"

namespace jlocal {
namespace {
namespace amx {

constexpr int kRows = 32;
// At most so many values of each row are multiplied at a time: 32 rows of them, 24 KB, stay in the first-level
// cache while they pass all panels of a group.
constexpr int64_t kMostOfChunk = 384;
// Panels of a group stay in the second-level cache while all rows pass, and leave room there for those rows
// and for the weights that follow.
constexpr size_t kBytesOfGroup = 1 << 19;
constexpr int kMostTogether = 8;  // since the sums of 32 rows are kept apart

// kDepth values of all rows, with the panels of a group and their sums, stay in the second-level cache.
inline size_t depth(int64_t K) { return K < kDepth ? K : kDepth; }
inline int panels_together(int64_t K) {
    const size_t fit = kBytesOfGroup / panel_size(depth(K));
    return fit < 1 ? 1 : fit > kMostTogether ? kMostTogether : (int)fit;
}

// Two lines for each 32 values of K: most of the weights that follow are then there in time, and tiles are
// not kept waiting.
inline void fetch(Later& later) {
    if (later.begin >= later.end) return;
    _mm_prefetch((const char*)later.begin, _MM_HINT_T1);
    _mm_prefetch((const char*)later.begin + 64, _MM_HINT_T1);
    later.begin += 128;
}

// Parts of `size` bytes of the rows that are multiplied after these, from `row` to `end`, `stride` bytes apart.
struct NextRows {
    const uint8_t *row = nullptr, *end = nullptr;
    size_t stride = 0, size = 0, done = 0;
};

inline void fetch(NextRows& next) {
    for (int i = 0; i < 4 && next.row < next.end; i++) {
        _mm_prefetch((const char*)(next.row + next.done), _MM_HINT_T1);
        if ((next.done += 64) >= next.size) next.done = 0, next.row += next.stride;
    }
}

struct alignas(64) Configuration {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t bytes[16] = {};
    uint8_t rows[16] = {};
};

// Tiles for `rows` rows of x, up to 32, in this thread.
inline void configure(int64_t rows) {
    const uint8_t first = (uint8_t)(rows < 16 ? rows : 16), second = (uint8_t)(rows > 16 ? rows - 16 : 1);
    Configuration c;
    for (int i = 0; i < 8; i++) c.bytes[i] = 64;
    c.rows[0] = c.rows[1] = c.rows[4] = first;
    c.rows[2] = c.rows[3] = c.rows[5] = second;
    c.rows[6] = c.rows[7] = 16;
    __asm__ volatile("ldtilecfg %0" : : "m"(c));
}
inline void release() { __asm__ volatile("tilerelease" : : : "memory"); }

#define JLOCAL_LOAD(tile, from, stride) __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #tile : : "r"(from), "r"((int64_t)(stride)) : "memory")
#define JLOCAL_STREAM(tile, from, stride) __asm__ volatile("tileloaddt1 (%0,%1,1), %%tmm" #tile : : "r"(from), "r"((int64_t)(stride)) : "memory")
#define JLOCAL_STORE(tile, to, stride) __asm__ volatile("tilestored %%tmm" #tile ", (%0,%1,1)" : : "r"(to), "r"((int64_t)(stride)) : "memory")
#define JLOCAL_ZERO(tile) __asm__ volatile("tilezero %%tmm" #tile : :)
#define JLOCAL_MULTIPLY(sums, x, w) __asm__ volatile("tdpbf16ps %%tmm" #w ", %%tmm" #x ", %%tmm" #sums : :)

// Where sums of rows and columns lie; `stride` values from row to row.
struct Sums {
    float* at;
    size_t stride;
};

// to = x * w, or from + x * w, for the 32 columns from w on; with kTwo for more than 16 rows, with kTiled for
// a panel of tiles. The stride of x in bytes; K a multiple of 32.
template <bool kTiled, bool kTwo, bool kAdd>
inline void block(const uint8_t* x, size_t stride, const uint8_t* w, int64_t K, Sums from, Sums to, Later& later, NextRows& next) {
    constexpr int64_t kPairs = kTiled ? 64 : kColumns * 4, kNext = kTiled ? 1024 : 64;
    const size_t from_stride = 4 * from.stride, to_stride = 4 * to.stride;
    if (kAdd) {
        JLOCAL_LOAD(0, from.at, from_stride);
        JLOCAL_LOAD(1, from.at + 16, from_stride);
        if (kTwo) {
            JLOCAL_LOAD(2, from.at + 16 * from.stride, from_stride);
            JLOCAL_LOAD(3, from.at + 16 * from.stride + 16, from_stride);
        }
    } else {
        JLOCAL_ZERO(0);
        JLOCAL_ZERO(1);
        JLOCAL_ZERO(2);
        JLOCAL_ZERO(3);
    }
    for (int64_t k = 0; k < K; k += 32, x += 64, w += 4096) {
        fetch(later);
        fetch(next);
        // Streamed, weights do not take the place of the rows in the first-level cache.
        if (kTiled) JLOCAL_STREAM(6, w, kPairs);
        else JLOCAL_LOAD(6, w, kPairs);
        JLOCAL_LOAD(4, x, stride);
        JLOCAL_MULTIPLY(0, 4, 6);
        if (kTiled) JLOCAL_STREAM(7, w + kNext, kPairs);
        else JLOCAL_LOAD(7, w + kNext, kPairs);
        JLOCAL_MULTIPLY(1, 4, 7);
        if (kTwo) {
            JLOCAL_LOAD(5, x + 16 * stride, stride);
            JLOCAL_MULTIPLY(2, 5, 6);
            JLOCAL_MULTIPLY(3, 5, 7);
        }
    }
    JLOCAL_STORE(0, to.at, to_stride);
    JLOCAL_STORE(1, to.at + 16, to_stride);
    if (kTwo) {
        JLOCAL_STORE(2, to.at + 16 * to.stride, to_stride);
        JLOCAL_STORE(3, to.at + 16 * to.stride + 16, to_stride);
    }
}

// Up to 32 rows, for which the tiles are configured, past a panel.
template <bool kTiled, bool kAdd>
inline void panel_of(int64_t rows, const uint8_t* x, size_t stride, const uint8_t* w, int64_t K, Sums from, Sums to, Later& later, NextRows& next) {
    for (int column = 0; column < kColumns; column += 32, from.at += 32, to.at += 32) {
        const uint8_t* columns = w + (kTiled ? 64 : 4) * column;
        if (rows > 16) {
            block<kTiled, true, kAdd>(x, stride, columns, K, from, to, later, next);
        } else {
            block<kTiled, false, kAdd>(x, stride, columns, K, from, to, later, next);
        }
    }
}

inline void copy(Sums from, Sums to, int64_t rows, int columns) {
    for (int64_t i = 0; i < rows; i++) __builtin_memcpy(to.at + i * to.stride, from.at + i * from.stride, columns * sizeof(float));
}

// Values of a chunk, at most kMostOfChunk, so that all chunks of `count` values are about as long.
inline int64_t chunk_of(int64_t count) {
    const int64_t chunks = (count + kMostOfChunk - 1) / kMostOfChunk;
    return (count + 32 * chunks - 1) / (32 * chunks) * 32;
}

// Multiply rows of x by the panels of `columns` columns. `weights(panel, k, count, first)` returns the
// part of a panel from k on, and is called for each part with `first` before it is called without; never
// with it, if rows passed these panels `again`. Sums are kept apart until the last chunk: rows of `out` lie far
// from each other, often in the same lines of the first-level cache.
template <class Weights>
inline void multiply(const uint8_t* x, size_t stride, int64_t rows, int64_t K, float* out, size_t out_stride, int columns, bool again, Later& later, Weights weights) {
    alignas(64) float kept[kMostTogether][kRows * kColumns];
    int64_t configured = 0;
    for (int64_t begin = 0; begin < K; begin += kDepth) {
        const int64_t end = K - begin < kDepth ? K : begin + kDepth, chunk = chunk_of(end - begin);
        for (int64_t m = 0; m < rows; m += kRows) {
            const int64_t here = rows - m < kRows ? rows - m : kRows;
            if (here != configured) configure(configured = here);
            const int64_t after = rows - m - here < kRows ? rows - m - here : kRows;
            const uint8_t* first = x + (m + here) * stride + 2 * begin;
            NextRows next{first, first + after * stride, stride, (size_t)(2 * (end - begin))};
            for (int64_t k = begin; k < end; k += chunk) {
                const int64_t count = end - k < chunk ? end - k : chunk;
                for (int panel = 0; panel * kColumns < columns; panel++) {
                    const int existing = columns - panel * kColumns < kColumns ? columns - panel * kColumns : kColumns;
                    const Sums apart{kept[panel], kColumns}, result{out + m * out_stride + panel * kColumns, out_stride};
                    const bool full = existing == kColumns, begins = k == begin, ends = k + chunk >= end;
                    if (!full && begins && k) copy(result, apart, here, existing);
                    const Sums from = full && begins ? result : apart, to = full && ends ? result : apart;
                    (k ? panel_of<true, true> : panel_of<true, false>)(here, x + m * stride + 2 * k, stride, weights(panel, k, count, m == 0 && !again), count,
                                                                       from, to, later, next);
                    if (!full && ends) copy(apart, result, here, existing);
                }
            }
        }
    }
    release();
}

// Interleave the bytes of each row of the first half with those of its row in the second half.
inline void interleave(const __m128i* rows, __m128i* out) {
    for (int i = 0; i < 8; i++) {
        out[2 * i] = _mm_unpacklo_epi8(rows[i], rows[i + 8]);
        out[2 * i + 1] = _mm_unpackhi_epi8(rows[i], rows[i + 8]);
    }
}

// 16 x 16 bytes: the byte j of row i becomes byte i of row j.
inline void transpose(const __m128i* rows, __m128i* out) {
    __m128i a[16], b[16];
    interleave(rows, a);
    interleave(a, b);
    interleave(b, a);
    interleave(a, out);
}

}  // namespace amx
}  // namespace
}  // namespace jlocal
