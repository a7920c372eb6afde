// Attention in float32 with AVX2 and FMA, for processors without products in bfloat16.
//
// The keys are taken by sub-blocks of 64:
//
//   keys:    [D][64] float32    transposed, so that a score is a column
//   values:  [64][DV] float32
//   scores:  [32][64]           of one tile of queries; then the weights
//
// What a row of queries keeps:  q [D], o [DV] the weighted sum, top, sum, and whether it sees a key.
#include <immintrin.h>

#include "attention.h"

namespace jlocal {
namespace {

constexpr float kLog2E = 1.44269504f;
constexpr uint16_t kHidden = 0xfc00;  // minus infinity in float16

bool runs_on(const Cpu& cpu) { return cpu.avx2; }

inline int64_t up(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }
inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

// The layout of a thread's scratch memory.
struct Layout {
    int64_t rows;
    size_t keys, values, scores, q, o, top, sum, sees, size;

    Layout(const Attention& a, int64_t tiles) : rows(a.heads / a.key_heads * tiles * kTile) {
        size_t at = 0;
        const auto take = [&at](size_t bytes) {
            const size_t begin = at;
            at += (bytes + 63) / 64 * 64;
            return begin;
        };
        keys = take(4 * a.D * kSubBlock);
        values = take(4 * a.DV * kSubBlock);
        scores = take(4 * kTile * kSubBlock);
        q = take(4 * rows * a.D);
        o = take(4 * rows * a.DV);
        top = take(4 * rows);
        sum = take(4 * rows);
        sees = take(rows);
        size = at;
    }
};

size_t scratch_size(const Attention& a, int64_t tiles) { return Layout(a, tiles).size; }

// 2^x for x <= 0, to 2e-6 of its size; zero below -126; NaN stays NaN.
inline __m256 exp2(__m256 x) {
    const __m256 lowest = _mm256_set1_ps(-126.f);
    const __m256 kept = _mm256_cmp_ps(x, lowest, _CMP_NLT_UQ);
    x = _mm256_max_ps(lowest, x);  // of a NaN, the second operand is kept
    const __m256 n = _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC), r = _mm256_sub_ps(x, n);
    __m256 p = _mm256_set1_ps(1.33335581e-3f);  // the series of 2^r, -0.5 <= r <= 0.5
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(9.61812911e-3f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(5.55041087e-2f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(2.40226507e-1f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(6.93147181e-1f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.f));
    const __m256i power = _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
    return _mm256_and_ps(_mm256_mul_ps(p, _mm256_castsi256_ps(power)), kept);
}

inline float highest(__m256 x) {
    __m128 half = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    half = _mm_max_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_max_ss(half, _mm_movehdup_ps(half)));
}
inline float total(__m256 x) {
    __m128 half = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    half = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
}

// The mask of 8 keys from `key` on; keys that do not exist are hidden.
inline __m128i mask_of(const Attention& a, int64_t row, int64_t key) {
    const uint8_t* mask = a.mask ? a.mask + row * a.mask_row + 2 * key : nullptr;
    const int64_t rest = a.keys - key;
    if (rest >= 8) return mask ? _mm_loadu_si128((const __m128i*)mask) : _mm_setzero_si128();
    uint16_t some[8];
    for (int i = 0; i < 8; i++) some[i] = i < rest ? 0 : kHidden;
    if (mask && rest > 0) __builtin_memcpy(some, mask, 2 * rest);
    return _mm_loadu_si128((const __m128i*)some);
}

Left left(const Attention& a, int64_t tile, int64_t sub_block) {
    const int64_t last = least((tile + 1) * kTile, a.queries);
    bool something = false, everything = true;
    for (int64_t r = tile * kTile; r < last; r++) {
        for (int i = 0; i < kSubBlock; i += 8) {
            const __m128i mask = mask_of(a, r, sub_block * kSubBlock + i);
            something |= _mm_movemask_epi8(_mm_cmpeq_epi16(mask, _mm_set1_epi16((short)kHidden))) != 0xffff;
            everything &= _mm_testz_si128(mask, mask) != 0;
        }
        if (something && !everything) return kSomething;
        if (!a.mask) break;  // all rows are the same
    }
    return everything ? kEverything : something ? kSomething : kNothing;
}

// Columns of c by rows: c = x * w, or c = c * keep + x * w, for R rows and 16 columns.
template <int R, bool kAdd>
inline void tile_of(const float* x, size_t x_row, const float* w, size_t w_row, int64_t K, float* c, size_t c_row, const float* keep) {
    __m256 sum[R][2];
#pragma GCC unroll 6
    for (int i = 0; i < R; i++)
        for (int j = 0; j < 2; j++)
            sum[i][j] = kAdd ? _mm256_mul_ps(_mm256_loadu_ps(c + i * c_row + 8 * j), _mm256_set1_ps(keep[i])) : _mm256_setzero_ps();
    for (int64_t k = 0; k < K; k++, w += w_row, x++) {
        const __m256 w0 = _mm256_loadu_ps(w), w1 = _mm256_loadu_ps(w + 8);
#pragma GCC unroll 6
        for (int i = 0; i < R; i++) {
            const __m256 v = _mm256_broadcast_ss(x + i * x_row);
            sum[i][0] = _mm256_fmadd_ps(w0, v, sum[i][0]);
            sum[i][1] = _mm256_fmadd_ps(w1, v, sum[i][1]);
        }
    }
#pragma GCC unroll 6
    for (int i = 0; i < R; i++)
        for (int j = 0; j < 2; j++) _mm256_storeu_ps(c + i * c_row + 8 * j, sum[i][j]);
}

template <bool kAdd>
void product(const float* x, size_t x_row, int rows, const float* w, size_t w_row, int64_t K, int64_t columns, float* c,
             size_t c_row, const float* keep) {
    for (int64_t n = 0; n < columns; n += 16) {
        int r = 0;
        for (; r + 6 <= rows; r += 6) tile_of<6, kAdd>(x + r * x_row, x_row, w + n, w_row, K, c + r * c_row + n, c_row, keep + r);
        for (; r < rows; r++) tile_of<1, kAdd>(x + r * x_row, x_row, w + n, w_row, K, c + r * c_row + n, c_row, keep + r);
    }
}

inline __m256 floats(const uint8_t* halves) { return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)halves)); }

bool is_finite(const uint8_t* v, int64_t count) {
    const __m128i exponent = _mm_set1_epi16(0x7c00);
    for (int64_t d = 0; d < count; d += 8)
        if (_mm_movemask_epi8(_mm_cmpeq_epi16(_mm_and_si128(_mm_loadu_si128((const __m128i*)(v + 2 * d)), exponent), exponent))) return false;
    return true;
}

// The keys and values of a sub-block. Values that are not finite are left out, and marked in `odd`:
// hidden keys have a weight of zero, and zero times infinity is not zero.
uint64_t pack(const Attention& a, int64_t key_head, int64_t first, float* keys, float* values) {
    uint64_t odd = 0;
    for (int n = 0; n < kSubBlock; n++) {
        const bool exists = first + n < a.keys;
        const uint8_t* k = a.k.data + key_head * a.k.head + (first + n) * a.k.row;
        const uint8_t* v = a.v.data + key_head * a.v.head + (first + n) * a.v.row;
        const bool finite = exists && is_finite(v, a.DV);
        if (exists && !finite) odd |= uint64_t{1} << n;
        for (int64_t d = 0; d < a.D; d += 8) {
            float some[8] = {};
            if (exists) _mm256_storeu_ps(some, floats(k + 2 * d));
            for (int i = 0; i < 8; i++) keys[(d + i) * kSubBlock + n] = some[i];
        }
        for (int64_t d = 0; d < a.DV; d += 8) _mm256_storeu_ps(values + n * a.DV + d, finite ? floats(v + 2 * d) : _mm256_setzero_ps());
    }
    return odd;
}

// Turn the 64 scores of a row into weights; update its top and sum. Returns the factor for its earlier
// sums.
inline float weigh(const Attention& a, int64_t row, int64_t first, bool masked, float* s, float* top_of, float* sum_of, uint8_t* sees) {
    const float to_base_2 = a.scale * kLog2E;
    __m256 tops = _mm256_set1_ps(-__builtin_inff());
    for (int i = 0; i < kSubBlock; i += 8) {
        __m256 x = _mm256_loadu_ps(s + i);
        if (masked) {
            const __m128i mask = mask_of(a, row, first + i), hidden = _mm_cmpeq_epi16(mask, _mm_set1_epi16((short)kHidden));
            x = _mm256_fmadd_ps(_mm256_cvtph_ps(mask), _mm256_set1_ps(1 / a.scale), x);
            x = _mm256_blendv_ps(x, _mm256_set1_ps(-__builtin_inff()), _mm256_castsi256_ps(_mm256_cvtepi16_epi32(hidden)));
            _mm256_storeu_ps(s + i, x);
            *sees |= _mm_movemask_epi8(hidden) != 0xffff;
        }
        tops = _mm256_max_ps(tops, x);
    }
    *sees |= !masked;
    const float before = *top_of, here = highest(tops), top = here > before ? here : before;
    const float base = top == -__builtin_inff() ? 0.f : top;
    const float keep = _mm256_cvtss_f32(exp2(_mm256_set1_ps((before - base) * to_base_2)));
    const __m256 factor = _mm256_set1_ps(to_base_2), shift = _mm256_set1_ps(base * to_base_2);
    __m256 sum = _mm256_setzero_ps();
    for (int i = 0; i < kSubBlock; i += 8) {
        const __m256 x = exp2(_mm256_fmsub_ps(_mm256_loadu_ps(s + i), factor, shift));
        sum = _mm256_add_ps(sum, x);
        _mm256_storeu_ps(s + i, x);
    }
    *top_of = top;
    *sum_of = *sum_of * keep + total(sum);
    return keep;
}

// Add the values that were left out to the rows that see their keys.
void add_odd(const Attention& a, uint64_t odd, int64_t key_head, int64_t first, int64_t row, int rows, const float* weights, float* o) {
    for (int n = 0; n < kSubBlock; n++) {
        if (!(odd >> n & 1)) continue;
        const uint8_t* v = a.v.data + key_head * a.v.head + (first + n) * a.v.row;
        for (int r = 0; r < rows; r++) {
            uint16_t mask = 0;
            if (a.mask) __builtin_memcpy(&mask, a.mask + (row + r) * a.mask_row + 2 * (first + n), 2);
            if (mask == kHidden) continue;
            for (int64_t d = 0; d < a.DV; d += 8) {
                float* to = o + r * a.DV + d;
                _mm256_storeu_ps(to, _mm256_fmadd_ps(_mm256_set1_ps(weights[r * kSubBlock + n]), floats(v + 2 * d), _mm256_loadu_ps(to)));
            }
        }
    }
}

void compute(const Attention& a, const AttentionPiece& piece, uint8_t* scratch) {
    const int64_t tiles = piece.last_tile - piece.first_tile, group = a.heads / a.key_heads;
    const Layout at(a, tiles);
    float *keys = (float*)(scratch + at.keys), *values = (float*)(scratch + at.values), *scores = (float*)(scratch + at.scores);
    float *q = (float*)(scratch + at.q), *o = (float*)(scratch + at.o), *top = (float*)(scratch + at.top), *sum = (float*)(scratch + at.sum);
    uint8_t* sees = scratch + at.sees;
    __builtin_memset(o, 0, 4 * at.rows * a.DV);
    __builtin_memset(sum, 0, 4 * at.rows);
    __builtin_memset(sees, 0, at.rows);
    for (int64_t r = 0; r < at.rows; r++) top[r] = -__builtin_inff();

    // Call visit(head of the group, tile, its first row here, its number of rows).
    const auto each_tile = [&](const auto& visit) {
        for (int64_t g = 0; g < group; g++)
            for (int64_t tile = piece.first_tile; tile < piece.last_tile; tile++)
                visit(g, tile, (g * tiles + tile - piece.first_tile) * kTile, (int)least(kTile, a.queries - tile * kTile));
    };
    each_tile([&](int64_t g, int64_t tile, int64_t row, int rows) {
        for (int r = 0; r < rows; r++)
            __builtin_memcpy(q + (row + r) * a.D, a.q.data + (piece.key_head * group + g) * a.q.head + (tile * kTile + r) * a.q.row, 4 * a.D);
    });
    for (int64_t sub = 0; sub < piece.sub_blocks; sub++) {
        bool any = false;
        for (int64_t tile = piece.first_tile; tile < piece.last_tile; tile++) any |= piece.left[tile * piece.sub_blocks + sub] != kNothing;
        if (!any) continue;
        const int64_t first = sub * kSubBlock;
        const uint64_t odd = pack(a, piece.key_head, first, keys, values);
        each_tile([&](int64_t, int64_t tile, int64_t row, int rows) {
            const uint8_t some = piece.left[tile * piece.sub_blocks + sub];
            if (some == kNothing) return;
            float keep[kTile];
            product<false>(q + row * a.D, a.D, rows, keys, kSubBlock, a.D, kSubBlock, scores, kSubBlock, keep);
            for (int r = 0; r < rows; r++)
                keep[r] = weigh(a, tile * kTile + r, first, some == kSomething, scores + r * kSubBlock, top + row + r, sum + row + r, sees + row + r);
            product<true>(scores, kSubBlock, rows, values, a.DV, kSubBlock, a.DV, o + row * a.DV, a.DV, keep);
            if (odd) add_odd(a, odd, piece.key_head, first, tile * kTile, rows, scores, o + row * a.DV);
        });
    }
    each_tile([&](int64_t g, int64_t tile, int64_t row, int rows) {
        for (int64_t r = row; r < row + rows; r++) {
            // A row that sees no key is zero, as in ggml; one whose every score is minus infinity is not a number.
            const float inverse = sum[r] != 0 ? 1 / sum[r] : sees[r] ? __builtin_nanf("") : 0.f;
            float* out = a.out + ((tile * kTile + r - row) * a.heads + piece.key_head * group + g) * a.DV;
            for (int64_t d = 0; d < a.DV; d += 8) _mm256_storeu_ps(out + d, _mm256_mul_ps(_mm256_loadu_ps(o + r * a.DV + d), _mm256_set1_ps(inverse)));
        }
    });
}

}  // namespace

extern const AttentionKernels kAttentionAvx2;
const AttentionKernels kAttentionAvx2{"avx2", runs_on, left, scratch_size, compute};

}  // namespace jlocal
