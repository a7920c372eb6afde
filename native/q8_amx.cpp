// Products in bfloat16 with AMX, of weights that stay in 8 bits: half the memory to read and to hold.
// Panels are widened to bfloat16, part by part, when the first rows pass them.
//
//   panel of weights, for each block of 32 values of each column:
//     [16][4][16][2] int8   for each pair of k and each 16 columns, the two values of each column
//     [64] float16          the scales of the columns
//
// Widened, a panel has the layout drawn in amx_tile.h, and the bits that the panel of the same matrix
// would have there.
#include "amx_tile.h"

namespace jlocal {
namespace {

constexpr size_t kValues = kBlock * kColumns;          // bytes of a block's values
constexpr size_t kSize = kValues + 2 * kColumns;       // and of the whole block

size_t scratch_size(int64_t K) { return amx::panels_together(K) * panel_size(amx::depth(K)); }

bool runs_on(const Cpu& cpu) { return cpu.amx_bf16; }
size_t q8_panel_size(int64_t K) { return (size_t)(K / kBlock) * kSize; }

void q8_pack(const Rows& rows, int64_t K, uint8_t* panel) {
    const int64_t blocks = K / kBlock;
    for (int64_t b = 0; b < blocks; b++, panel += kSize) {
        float scales[kColumns] = {};
        for (int n = 0; n < rows.count; n++) scales[n] = rows.scales[n * blocks + b];
        for (int n = 0; n < kColumns; n += 16) {
            __m128i column[16], pairs[16];
            for (int i = 0; i < 16; i++) column[i] = pairs[i] = _mm_setzero_si128();
            for (int half = 0; half < 2; half++) {  // 16 values of 16 columns
                for (int i = 0; i < 16 && n + i < rows.count; i++)
                    column[i] = _mm_loadu_si128((const __m128i*)(rows.values + (n + i) * K + b * kBlock + 16 * half));
                amx::transpose(column, pairs);
                for (int k = 0; k < 16; k += 2) {
                    __m128i* to = (__m128i*)(panel + (8 * half + k / 2) * 2 * kColumns + 2 * n);
                    _mm_storeu_si128(to, _mm_unpacklo_epi8(pairs[k], pairs[k + 1]));
                    _mm_storeu_si128(to + 1, _mm_unpackhi_epi8(pairs[k], pairs[k + 1]));
                }
            }
            _mm256_storeu_si256((__m256i*)(panel + kValues + 2 * n), _mm512_cvtps_ph(_mm512_loadu_ps(scales + n), _MM_FROUND_TO_NEAREST_INT));
        }
    }
}

// Blocks of a panel, as a panel of bfloat16.
inline void widen(const uint8_t* panel, int64_t blocks, uint8_t* to) {
    // The scales of 8 columns, each twice, for a pair of values.
    const __m512i twice = _mm512_set_epi32(7, 7, 6, 6, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0);
    for (int64_t b = 0; b < blocks; b++, panel += kSize) {
        __m512 scale[8];
        for (int g = 0; g < 8; g++)
            scale[g] = _mm512_permutexvar_ps(twice, _mm512_castps256_ps512(_mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)(panel + kValues + 16 * g)))));
        for (int i = 0; i < kBlock / 2; i++) {
            // Each line is used once, and comes from far away.
            const char* ahead = (const char*)(panel + 4 * kSize + i * 2 * kColumns);
            _mm_prefetch(ahead, _MM_HINT_T0);
            _mm_prefetch(ahead + 64, _MM_HINT_T0);
#pragma GCC unroll 4
            for (int g = 0; g < 4; g++) {
                const __m128i* from = (const __m128i*)(panel + i * 2 * kColumns + 32 * g);
                const __m512 x = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(from))), scale[2 * g]);
                const __m512 y = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(from + 1))), scale[2 * g + 1]);
                _mm512_storeu_si512(to + 1024 * g + 64 * i, (__m512i)_mm512_cvtne2ps_pbh(y, x));
            }
        }
        to += kBlock * kColumns * 2;
    }
}

void multiply(const uint8_t* x, size_t stride, int64_t rows, const uint8_t* panel, int64_t K, float* out,
              size_t out_stride, int columns, uint8_t* scratch, Pass pass, Later& later) {
    // What is used once may be overwritten: it then stays in the first-level cache.
    static_assert(kFewRows <= amx::kRows);
    const bool once = pass == Pass::kOnly;
    amx::multiply(x, stride, rows, K, out, out_stride, columns, pass == Pass::kAgain, later, [&](int number, int64_t k, int64_t count, bool first) {
        uint8_t* widened = once ? scratch : scratch + number * panel_size(amx::depth(K)) + k % kDepth * kColumns * 2;
        if (first) widen(panel + number * q8_panel_size(K) + k / kBlock * kSize, count / kBlock, widened);
        return (const uint8_t*)widened;
    });
}

}  // namespace

extern const Family kFamilyQ8Amx;
const Family kFamilyQ8Amx{"bf16-amx-q8", Form::kQ8, kColumns, runs_on, q8_panel_size, q8_pack, row_size, convert, multiply, amx::panels_together, scratch_size, convert_gated, true};

}  // namespace jlocal
