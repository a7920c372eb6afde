// The kernels of tokenwise.h for AVX2: memory bounds them, not arithmetic.
#include <immintrin.h>

#include "tokenwise.h"

namespace jlocal {
namespace {

bool runs_on(const Cpu& cpu) { return cpu.avx2; }

// 1 / sqrt(mean of squares + epsilon). The squares are summed in double precision, as in ggml.
float inverse_root(const float* x, int64_t n, float epsilon) {
    __m256d low = _mm256_setzero_pd(), high = _mm256_setzero_pd();
    for (int64_t i = 0; i < n; i += 8) {
        const __m256 v = _mm256_loadu_ps(x + i), square = _mm256_mul_ps(v, v);
        low = _mm256_add_pd(low, _mm256_cvtps_pd(_mm256_castps256_ps128(square)));
        high = _mm256_add_pd(high, _mm256_cvtps_pd(_mm256_extractf128_ps(square, 1)));
    }
    const __m256d all = _mm256_add_pd(low, high);
    const __m128d half = _mm_add_pd(_mm256_castpd256_pd128(all), _mm256_extractf128_pd(all, 1));
    const float mean = (float)(_mm_cvtsd_f64(_mm_add_sd(half, _mm_unpackhi_pd(half, half))) / (double)n);
    return 1.f / _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(mean + epsilon)));
}

void norm(const float* x, int64_t n, float epsilon, float* y) {
    const __m256 scale = _mm256_set1_ps(inverse_root(x, n, epsilon));
    for (int64_t i = 0; i < n; i += 8) _mm256_storeu_ps(y + i, _mm256_mul_ps(_mm256_loadu_ps(x + i), scale));
}

void norm_and_multiply(const float* x, const float* w, int64_t n, float epsilon, float* y) {
    const __m256 scale = _mm256_set1_ps(inverse_root(x, n, epsilon));
    for (int64_t i = 0; i < n; i += 8)
        _mm256_storeu_ps(y + i, _mm256_mul_ps(_mm256_mul_ps(_mm256_loadu_ps(x + i), scale), _mm256_loadu_ps(w + i)));
}

void add(const float* a, const float* b, int64_t n, float* y) {
    for (int64_t i = 0; i < n; i += 8) _mm256_storeu_ps(y + i, _mm256_add_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i)));
}

void multiply(const float* a, const float* b, int64_t n, float* y) {
    for (int64_t i = 0; i < n; i += 8) _mm256_storeu_ps(y + i, _mm256_mul_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i)));
}

// exp(x) = 2^k * exp(r) with |r| <= ln 2 / 2; a polynomial for exp(r), as in the Cephes library. Below
// -87 and above 88 the result is that of the limit; NaN stays NaN.
__m256 exponential(__m256 x) {
    x = _mm256_min_ps(_mm256_set1_ps(88.f), _mm256_max_ps(_mm256_set1_ps(-87.f), x));
    const __m256 k = _mm256_round_ps(_mm256_mul_ps(x, _mm256_set1_ps(1.44269504088896341f)), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m256 r = _mm256_fnmadd_ps(k, _mm256_set1_ps(0.693359375f), x);
    r = _mm256_fnmadd_ps(k, _mm256_set1_ps(-2.12194440e-4f), r);
    __m256 p = _mm256_set1_ps(1.9875691500e-4f);
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.3981999507e-3f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(8.3334519073e-3f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(4.1665795894e-2f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.6666665459e-1f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(5.0000001201e-1f));
    p = _mm256_add_ps(_mm256_fmadd_ps(p, _mm256_mul_ps(r, r), r), _mm256_set1_ps(1.f));
    const __m256i power = _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(k), _mm256_set1_epi32(127)), 23);
    return _mm256_mul_ps(p, _mm256_castsi256_ps(power));
}

void gate(const float* a, const float* b, int64_t n, float* y) {
    for (int64_t i = 0; i < n; i += 8) {
        const __m256 x = _mm256_loadu_ps(a + i);
        const __m256 below = _mm256_add_ps(_mm256_set1_ps(1.f), exponential(_mm256_sub_ps(_mm256_setzero_ps(), x)));
        _mm256_storeu_ps(y + i, _mm256_mul_ps(_mm256_div_ps(x, below), _mm256_loadu_ps(b + i)));
    }
}

void rotate(const float* x, const float* cosines, int64_t n, float* y) {
    const int64_t half = n / 2;
    for (int64_t i = 0; i < half; i += 8) {
        const __m256 a = _mm256_loadu_ps(x + i), b = _mm256_loadu_ps(x + half + i);
        const __m256 cosine = _mm256_loadu_ps(cosines + i), sine = _mm256_loadu_ps(cosines + half + i);
        _mm256_storeu_ps(y + i, _mm256_sub_ps(_mm256_mul_ps(a, cosine), _mm256_mul_ps(b, sine)));
        _mm256_storeu_ps(y + half + i, _mm256_add_ps(_mm256_mul_ps(a, sine), _mm256_mul_ps(b, cosine)));
    }
}

void to_half(const float* x, int64_t n, uint16_t* y) {
    for (int64_t i = 0; i < n; i += 8)
        _mm_storeu_si128((__m128i*)(y + i), _mm256_cvtps_ph(_mm256_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT));
}

}  // namespace

extern const TokenKernels kTokenKernelsAvx2;
const TokenKernels kTokenKernelsAvx2{runs_on, norm, norm_and_multiply, add, multiply, gate, rotate, to_half};

}  // namespace jlocal
