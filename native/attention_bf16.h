// Attention in bfloat16: scores and weighted sums are products, by AVX512-BF16 or by AMX, and the
// rest is AVX-512. Products is one of the two:
//
//   begin(), end()   around all products of a piece
//   multiply(…)      scores = q * keys, for a tile of queries and a sub-block
//   add(…)           o = o * keep + weights * values, for a tile and 64 dimensions
//
// A block has 512 keys, 8 sub-blocks of 64:
//
//   keys:    [sub-block][D/2][64][2]     a panel for each sub-block; a score is a column
//   values:  [DV/64][512/2][64][2]       a panel for each 64 dimensions; a key is a k of the panel
//   scores:  [32][512 + 16] float32      of one tile of queries; then the weights, [32][512 + 32] bfloat16
//
// What a row of queries keeps:  q [D], o [DV] the weighted sum, top, sum, and whether it sees a key.
#pragma once
#include "attention.h"

#include "bf16_tile.h"

namespace jlocal {
namespace {

constexpr int kBlockKeys = kSubBlock * kSubBlocks;
constexpr size_t kScoreRow = kBlockKeys + 16, kWeightRow = kBlockKeys + 32;  // no multiples of 4,096 bytes
constexpr float kLog2E = 1.44269504f;
constexpr uint16_t kHidden = 0xfc00;  // minus infinity in float16
static_assert(kSubBlock == tile::kColumns);

inline int64_t up(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

// The layout of a thread's scratch memory.
struct Layout {
    int64_t D, DV, rows;  // with padding; rows of queries
    size_t q_row, keys, values, scores, weights, q, o, top, sum, sees, odd, size;

    Layout(const Attention& a, int64_t tiles)
        : D(up(a.D, 32)), DV(up(a.DV, 64)), rows(a.heads / a.key_heads * tiles * kTile), q_row((size_t)D + 32) {
        size_t at = 0;
        const auto take = [&at](size_t bytes) {
            const size_t begin = at;
            at += (bytes + 63) / 64 * 64;
            return begin;
        };
        keys = take(2 * (size_t)D * kBlockKeys);
        values = take(2 * (size_t)DV * kBlockKeys);
        scores = take(4 * kTile * kScoreRow);
        weights = take(2 * kTile * kWeightRow);
        q = take(2 * rows * q_row);
        o = take(4 * rows * DV);
        top = take(4 * rows);
        sum = take(4 * rows);
        sees = take(rows);
        odd = take(2 * kBlockKeys);
        size = at;
    }
};

size_t scratch_size(const Attention& a, int64_t tiles) { return Layout(a, tiles).size; }

inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
inline __mmask16 first_lanes(int64_t count) { return count >= 16 ? 0xffff : count > 0 ? (__mmask16)((1u << count) - 1) : 0; }

// 2^x for x <= 0, to 2e-6 of its size; zero below -126, since the processor takes much longer for
// a result that is denormal or underflows, as the weights of hidden keys do; NaN stays NaN.
inline __m512 exp2(__m512 x) {
    const __m512 lowest = _mm512_set1_ps(-126.f);
    const __mmask16 normal = _mm512_cmp_ps_mask(x, lowest, _CMP_NLT_UQ);
    x = _mm512_max_ps(lowest, x);  // of a NaN, the second operand is kept
    const __m512 n = _mm512_roundscale_ps(x, 0), r = _mm512_sub_ps(x, n);
    __m512 p = _mm512_set1_ps(1.33335581e-3f);  // the series of 2^r, -0.5 <= r <= 0.5
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(9.61812911e-3f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(5.55041087e-2f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(2.40226507e-1f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(6.93147181e-1f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.f));
    return _mm512_maskz_scalef_ps(normal, p, n);
}

// 16 float16 values; values outside `lanes` are not read, and zero.
inline __m256i halves(const uint8_t* x, __mmask16 lanes) { return _mm256_maskz_loadu_epi16(lanes, x); }
inline __m256i bf16_of(__m256i half) { return (__m256i)_mm512_cvtneps_pbh(_mm512_cvtph_ps(half)); }

// Rows of a head lie kilobytes apart, where the processor expects none: each is fetched before its turn.
constexpr int kQueriesAhead = 4, kKeysAhead = 16;

inline void fetch_row(const uint8_t* row, int64_t bytes) {
    for (int64_t i = 0; i < bytes; i += 64) _mm_prefetch((const char*)row + i, _MM_HINT_T0);
}

Left left(const Attention& a, int64_t tile, int64_t sub_block) {
    const int64_t first = sub_block * kSubBlock, end = least(first + kSubBlock, a.keys);
    const int64_t row = tile * kTile, last = least(row + kTile, a.queries);
    bool everything = end == first + kSubBlock, something = !a.mask;
    if (!a.mask) return everything ? kEverything : kSomething;
    for (int64_t r = row; r < last; r++) {
        for (int64_t i = first; i < end; i += 32) {
            const __mmask32 lanes = i + 32 <= end ? ~0u : (1u << (end - i)) - 1;
            const __m512i x = _mm512_maskz_loadu_epi16(lanes, a.mask + r * a.mask_row + 2 * i);
            something |= _mm512_mask_cmpneq_epu16_mask(lanes, x, _mm512_set1_epi16((short)kHidden)) != 0;
            everything &= _mm512_test_epi16_mask(x, x) == 0;
        }
        if (something && !everything) return kSomething;
    }
    return everything ? kEverything : something ? kSomething : kNothing;
}

void pack_keys(const Attention& a, int64_t key_head, int64_t first, int64_t D, uint16_t* panel) {
    const uint8_t* k = a.k.data + key_head * a.k.head + first * a.k.row;
    const int64_t count = a.keys - first;
    for (int n = 0; n < kSubBlock; n += 16)
        for (int64_t d = 0; d < D; d += 32) {
            const __mmask16 low = first_lanes(a.D - d), high = first_lanes(a.D - d - 16);
            __m512i r[16];
            for (int i = 0; i < 16; i++) {
                const uint8_t* x = k + (n + i) * a.k.row + 2 * d;
                _mm_prefetch((const char*)(x + kKeysAhead * a.k.row), _MM_HINT_T0);
                r[i] = n + i < count ? _mm512_inserti64x4(_mm512_castsi256_si512(bf16_of(halves(x, low))), bf16_of(halves(x + 32, high)), 1)
                                     : _mm512_setzero_si512();
            }
            tile::transpose(r);
            for (int i = 0; i < 16; i++) _mm512_storeu_si512(panel + (d + 2 * i) * kSubBlock + 2 * n, r[i]);
        }
}

bool is_finite(const uint8_t* v, int64_t DV) {
    const __m256i exponent = _mm256_set1_epi16(0x7c00);
    for (int64_t d = 0; d < DV; d += 16)
        if (_mm256_cmpeq_epi16_mask(_mm256_and_si256(halves(v + 2 * d, first_lanes(DV - d)), exponent), exponent)) return false;
    return true;
}

// Pack the values of a sub-block. Values that are not finite are left out, and the indices of their
// keys are appended to `odd`: hidden keys have weight zero, and zero times infinity is not zero.
void pack_values(const Attention& a, int64_t key_head, int64_t block, int64_t sub, int64_t DV, uint16_t* panels,
                 uint16_t* odd, int* odds) {
    for (int64_t n = sub * kSubBlock; n < (sub + 1) * kSubBlock; n += 2) {
        const uint8_t* row[2];
        for (int i = 0; i < 2; i++) {
            row[i] = block + n + i < a.keys ? a.v.data + key_head * a.v.head + (block + n + i) * a.v.row : nullptr;
            if (row[i]) fetch_row(row[i] + kKeysAhead * a.v.row, 2 * a.DV);
            if (row[i] && !is_finite(row[i], a.DV)) {
                odd[(*odds)++] = (uint16_t)(n + i);
                row[i] = nullptr;
            }
        }
        for (int64_t d = 0; d < DV; d += 16) {
            const __mmask16 lanes = first_lanes(a.DV - d);
            const __m256i zero = _mm256_setzero_si256();
            const __m256i x = row[0] ? bf16_of(halves(row[0] + 2 * d, lanes)) : zero, y = row[1] ? bf16_of(halves(row[1] + 2 * d, lanes)) : zero;
            uint16_t* to = panels + d / 64 * (64 * kBlockKeys) + n * 64 + 2 * (d % 64);
            _mm512_storeu_si512(to, _mm512_or_si512(_mm512_cvtepu16_epi32(x), _mm512_slli_epi32(_mm512_cvtepu16_epi32(y), 16)));
        }
    }
}

// The state of a tile's rows, and a block of keys.
struct TileState {
    uint16_t* q;
    float *o, *top, *sum;
    uint8_t* sees;
    const uint8_t* mask;  // of its first row and the first key of all
    int rows;
};
struct Block {
    const uint16_t *keys, *values, *odd;
    int odds;
    int64_t first;  // key
    int subs;
};

// Add the mask to the scores of a sub-block; scores of hidden keys become minus infinity. Returns the
// highest score.
inline __m512 mask_scores(const Attention& a, const TileState& t, int r, const Block& b, int sub, float* s, uint8_t* sees) {
    const __m512 nothing = _mm512_set1_ps(-__builtin_inff()), inverse = _mm512_set1_ps(1 / a.scale);
    __m512 top = nothing;
    for (int i = sub * kSubBlock; i < (sub + 1) * kSubBlock; i += 16) {
        __mmask16 seen = first_lanes(a.keys - b.first - i);
        __m512 x = _mm512_loadu_ps(s + i);
        if (t.mask) {
            const __m256i m = halves(t.mask + r * a.mask_row + 2 * (b.first + i), seen);
            seen = _mm256_mask_cmpneq_epu16_mask(seen, m, _mm256_set1_epi16((short)kHidden));
            x = _mm512_fmadd_ps(_mm512_cvtph_ps(m), inverse, x);
        }
        x = _mm512_mask_mov_ps(nothing, seen, x);
        _mm512_storeu_ps(s + i, x);
        *sees |= seen != 0;
        top = _mm512_max_ps(top, x);
    }
    return top;
}

// Turn the scores of a row into weights; update its top and sum. Returns the factor for its earlier
// sums.
inline float weigh(const Attention& a, const TileState& t, int r, const Block& b, const uint8_t* left, int low, int high,
                   float* s, uint16_t* p) {
    const float to_base_2 = a.scale * kLog2E;
    const __m512 factor = _mm512_set1_ps(to_base_2);
    __m512 tops = _mm512_set1_ps(-__builtin_inff());
    for (int sub = low; sub < high; sub++) {
        if (left[sub] == kSomething) {
            tops = _mm512_max_ps(tops, mask_scores(a, t, r, b, sub, s, &t.sees[r]));
        } else if (left[sub] == kEverything) {
            t.sees[r] = 1;
            for (int i = sub * kSubBlock; i < (sub + 1) * kSubBlock; i += 16) tops = _mm512_max_ps(tops, _mm512_loadu_ps(s + i));
        }
    }
    const float before = t.top[r], here = _mm512_reduce_max_ps(tops), top = here > before ? here : before;
    const float base = top == -__builtin_inff() ? 0.f : top;
    const float keep = _mm512_cvtss_f32(exp2(_mm512_set1_ps((before - base) * to_base_2)));
    const __m512 shift = _mm512_set1_ps(base * to_base_2);
    __m512 sum = _mm512_setzero_ps();
    for (int sub = low; sub < high; sub++)
        for (int i = sub * kSubBlock; i < (sub + 1) * kSubBlock; i += 32) {
            if (!left[sub]) {
                _mm512_storeu_si512(p + i, _mm512_setzero_si512());
                continue;
            }
            const __m512 x = exp2(_mm512_fmsub_ps(_mm512_loadu_ps(s + i), factor, shift));
            const __m512 y = exp2(_mm512_fmsub_ps(_mm512_loadu_ps(s + i + 16), factor, shift));
            sum = _mm512_add_ps(sum, _mm512_add_ps(x, y));
            _mm512_storeu_si512(p + i, (__m512i)_mm512_cvtne2ps_pbh(y, x));
        }
    t.top[r] = top;
    t.sum[r] = t.sum[r] * keep + _mm512_reduce_add_ps(sum);
    return keep;
}

// Add the values that were left out to the rows that see their keys.
void add_odd(const Attention& a, const TileState& t, const Block& b, int64_t key_head, const uint8_t* left, int64_t DV, const uint16_t* weights) {
    for (int n = 0; n < b.odds; n++) {
        const int key = b.odd[n];
        if (!left[key / kSubBlock]) continue;
        const uint8_t* v = a.v.data + key_head * a.v.head + (b.first + key) * a.v.row;
        for (int r = 0; r < t.rows; r++) {
            uint16_t mask = 0;
            if (t.mask) __builtin_memcpy(&mask, t.mask + r * a.mask_row + 2 * (b.first + key), 2);
            if (mask == kHidden) continue;
            const __m512 weight = _mm512_castsi512_ps(_mm512_set1_epi32(weights[r * kWeightRow + key] << 16));
            for (int64_t d = 0; d < a.DV; d += 16) {
                float* o = t.o + r * DV + d;
                _mm512_storeu_ps(o, _mm512_fmadd_ps(weight, _mm512_cvtph_ps(halves(v + 2 * d, first_lanes(a.DV - d))), _mm512_loadu_ps(o)));
            }
        }
    }
}

// Compute a tile of queries against a block of keys.
template <class Products>
void attend_tile(const Attention& a, const TileState& t, const Block& b, int64_t key_head, const uint8_t* left,
                 const Layout& at, float* scores, uint16_t* weights) {
    int low = 0, high = b.subs;
    while (low < high && !left[low]) low++;
    while (high > low && !left[high - 1]) high--;
    if (low == high) return;
    for (int sub = low; sub < high; sub++)
        if (left[sub])
            Products::multiply(t.q, at.q_row, t.rows, b.keys + sub * kSubBlock * at.D, at.D, scores + sub * kSubBlock, kScoreRow);
    float keep[kTile];
    for (int r = 0; r < t.rows; r++)
        keep[r] = weigh(a, t, r, b, left, low, high, scores + r * kScoreRow, weights + r * kWeightRow);
    for (int64_t d = 0; d < at.DV; d += 64)
        Products::add(weights + low * kSubBlock, kWeightRow, t.rows, b.values + d * kBlockKeys + low * kSubBlock * 64,
                      (high - low) * kSubBlock, t.o + d, at.DV, keep);
    if (b.odds) add_odd(a, t, b, key_head, left, at.DV, weights);
}

template <class Products>
void compute(const Attention& a, const AttentionPiece& piece, uint8_t* scratch) {
    const int64_t tiles = piece.last_tile - piece.first_tile, group = a.heads / a.key_heads;
    const Layout at(a, tiles);
    uint16_t *keys = (uint16_t*)(scratch + at.keys), *values = (uint16_t*)(scratch + at.values), *odd = (uint16_t*)(scratch + at.odd);
    float *o = (float*)(scratch + at.o), *top = (float*)(scratch + at.top), *sum = (float*)(scratch + at.sum);
    __builtin_memset(o, 0, 4 * at.rows * at.DV);
    __builtin_memset(sum, 0, 4 * at.rows);
    __builtin_memset(scratch + at.sees, 0, at.rows);
    for (int64_t r = 0; r < at.rows; r++) top[r] = -__builtin_inff();

    const auto state = [&](int64_t g, int64_t tile) {
        const int64_t r = (g * tiles + tile - piece.first_tile) * kTile;
        return TileState{(uint16_t*)(scratch + at.q) + r * at.q_row, o + r * at.DV, top + r, sum + r, scratch + at.sees + r,
                         a.mask ? a.mask + tile * kTile * a.mask_row : nullptr, (int)least(kTile, a.queries - tile * kTile)};
    };
    for (int64_t g = 0; g < group; g++)
        for (int64_t tile = piece.first_tile; tile < piece.last_tile; tile++) {
            const TileState t = state(g, tile);
            for (int r = 0; r < t.rows; r++) {
                const uint8_t* from = a.q.data + (piece.key_head * group + g) * a.q.head + (tile * kTile + r) * a.q.row;
                fetch_row(from + kQueriesAhead * a.q.row, 4 * a.D);
                for (int64_t d = 0; d < at.D; d += 16) {
                    const __m512 x = _mm512_maskz_loadu_ps(first_lanes(a.D - d), (const float*)from + d);
                    _mm256_storeu_si256((__m256i*)(t.q + r * at.q_row + d), (__m256i)_mm512_cvtneps_pbh(x));
                }
            }
        }

    Products::begin();
    for (int64_t first = 0; first < piece.sub_blocks; first += kSubBlocks) {
        Block block{keys, values, odd, 0, first * kSubBlock, (int)least(kSubBlocks, piece.sub_blocks - first)};
        int low = block.subs, high = 0;
        for (int64_t tile = piece.first_tile; tile < piece.last_tile; tile++)
            for (int sub = 0; sub < block.subs; sub++)
                if (piece.left[tile * piece.sub_blocks + first + sub]) {
                    low = sub < low ? sub : low;
                    high = sub >= high ? sub + 1 : high;
                }
        for (int sub = low; sub < high; sub++) {
            pack_keys(a, piece.key_head, block.first + sub * kSubBlock, at.D, keys + sub * kSubBlock * at.D);
            pack_values(a, piece.key_head, block.first, sub, at.DV, values, odd, &block.odds);
        }
        if (low >= high) continue;
        for (int64_t g = 0; g < group; g++)
            for (int64_t tile = piece.first_tile; tile < piece.last_tile; tile++)
                attend_tile<Products>(a, state(g, tile), block, piece.key_head, piece.left + tile * piece.sub_blocks + first, at,
                            (float*)(scratch + at.scores), (uint16_t*)(scratch + at.weights));
    }
    Products::end();

    for (int64_t g = 0; g < group; g++)
        for (int64_t tile = piece.first_tile; tile < piece.last_tile; tile++) {
            const TileState t = state(g, tile);
            for (int r = 0; r < t.rows; r++) {
                // A row that sees no key is zero, as in ggml; one whose every score is minus infinity is not a number.
                const float inverse = t.sum[r] != 0 ? 1 / t.sum[r] : t.sees[r] ? __builtin_nanf("") : 0.f;
                const int64_t query = tile * kTile + r, head = piece.key_head * group + g;
                for (int64_t d = 0; d < a.DV; d += 16) {
                    const __m512 x = _mm512_mul_ps(_mm512_loadu_ps(t.o + r * at.DV + d), _mm512_set1_ps(inverse));
                    const __mmask16 lanes = first_lanes(a.DV - d);
                    if (a.bf16)
                        _mm256_mask_storeu_epi16(a.bf16 + query * a.bf16_row + 2 * (head * a.DV + d), lanes, (__m256i)_mm512_cvtneps_pbh(x));
                    else
                        _mm512_mask_storeu_ps(a.out + (query * a.heads + head) * a.DV + d, lanes, x);
                }
            }
        }
}

template <class Products>
constexpr AttentionKernels kernels_with(const char* name, bool (*runs_on)(const Cpu&)) {
    return {name, runs_on, left, scratch_size, compute<Products>, true};
}

}  // namespace
}  // namespace jlocal
