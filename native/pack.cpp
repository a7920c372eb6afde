// Reads rows of any type as bfloat16 or as int8 with scales, panel after panel.
#include "pack.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "scratch.h"

namespace jlocal {
namespace {

struct BlockQ8 {  // Q8_0 in a file
    uint16_t scale;  // float16
    int8_t values[kBlock];
};
static_assert(sizeof(BlockQ8) == 34);

float from_half(uint16_t half) {
    const uint32_t sign = (half & 0x8000u) << 16, exponent = half >> 10 & 31, fraction = half & 0x3ff;
    uint32_t bits;
    if (exponent == 31) {
        bits = sign | 0x7f800000u | fraction << 13;
    } else if (exponent) {
        bits = sign | (exponent + 112) << 23 | fraction << 13;
    } else {
        const float small = std::ldexp((float)fraction, -24);
        return sign ? -small : small;
    }
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

// Round to nearest, ties to even; NaN stays NaN.
inline uint16_t to_bf16(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    const uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16, quiet = bits >> 16 | 64;
    return (uint16_t)((bits & 0x7fffffff) > 0x7f800000 ? quiet : rounded);
}

void to_bf16(const float* x, int64_t count, uint16_t* y) {
    for (int64_t i = 0; i < count; i++) y[i] = to_bf16(x[i]);
}

// As Q8_0 is made, with the scale in float32. A block with NaN or infinity has such a scale.
void to_int8(const float* x, int64_t count, int8_t* values, float* scales) {
    for (int64_t b = 0; b < count / kBlock; b++, x += kBlock, values += kBlock) {
        uint32_t most_bits = 0;
        for (int i = 0; i < kBlock; i++) {
            uint32_t bits;
            std::memcpy(&bits, x + i, sizeof bits);
            most_bits = std::max(most_bits, bits & 0x7fffffff);
        }
        float most;
        std::memcpy(&most, &most_bits, sizeof most);
        scales[b] = most / 127.f;
        const bool finite = most_bits < 0x7f800000;
        const float inverse = finite && most >= 1e-36f ? 127.f / most : 0.f;
        for (int i = 0; i < kBlock; i++) values[i] = finite ? (int8_t)std::lrintf(x[i] * inverse) : (int8_t)1;
    }
}

void split_q8(const BlockQ8* blocks, int64_t count, int8_t* values, float* scales) {
    for (int64_t b = 0; b < count; b++) {
        std::memcpy(values + b * kBlock, blocks[b].values, kBlock);
        scales[b] = from_half(blocks[b].scale);
    }
}

// The rows of one panel in the form of its family, in memory of one thread.
class Reader {
public:
    Reader(const Family& family, ggml::Type type, int64_t K) : family_(family), type_(type), K_(K) {
        to_float_ = type == ggml::kF32 ? nullptr : type == ggml::kQ8_0 && family.form != Form::kBf16 ? nullptr
                    : type == ggml::kBF16 && family.form == Form::kBf16 ? nullptr
                    : ggml::api.ggml_get_type_traits(type)->to_float;
        row_ = type == ggml::kF32 ? (size_t)K * 4 : type == ggml::kBF16 ? (size_t)K * 2
               : type == ggml::kQ8_0 ? (size_t)(K / kBlock) * sizeof(BlockQ8) : ggml::api.ggml_row_size(type, K);
    }

    size_t row_size() const { return row_; }
    size_t scratch_size() const { return (size_t)K_ * (4 + 2 * family_.columns) + (size_t)K_ / kBlock * 4 * family_.columns; }

    Rows read(const uint8_t* rows, int count, uint8_t* scratch) const {
        Rows read{count, nullptr, (size_t)K_, nullptr, nullptr};
        float* floats = (float*)scratch;
        float* scales = floats + K_;
        uint8_t* values = (uint8_t*)(scales + K_ / kBlock * family_.columns);
        if (family_.form == Form::kBf16) {
            read.bf16 = type_ == ggml::kBF16 ? (const uint16_t*)rows : (const uint16_t*)values;
            if (type_ != ggml::kBF16)
                for (int n = 0; n < count; n++) to_bf16(as_floats(rows + n * row_, floats), K_, (uint16_t*)values + n * K_);
            return read;
        }
        read.values = (const int8_t*)values;
        read.scales = scales;
        for (int n = 0; n < count; n++) {
            int8_t* to = (int8_t*)values + n * K_;
            float* scale = scales + n * (K_ / kBlock);
            if (type_ == ggml::kQ8_0) {
                split_q8((const BlockQ8*)(rows + n * row_), K_ / kBlock, to, scale);
            } else {
                to_int8(as_floats(rows + n * row_, floats), K_, to, scale);
            }
        }
        return read;
    }

private:
    const float* as_floats(const uint8_t* row, float* floats) const {
        if (!to_float_) {  // float32 in the file; its address need not be a multiple of 4
            std::memcpy(floats, row, (size_t)K_ * 4);
        } else {
            to_float_(row, floats, K_);
        }
        return floats;
    }

    const Family& family_;
    ggml::Type type_;
    int64_t K_;
    size_t row_;
    void (*to_float_)(const void*, float*, int64_t);
};

}  // namespace

bool readable(ggml::Type type) {
    if (type == ggml::kF32) return true;
    return type >= 0 && type < ggml::kTypeCount && ggml::api.ggml_get_type_traits(type)->to_float;
}

bool pack(const Family& family, ggml::Type type, const void* rows, int64_t N, int64_t K, uint8_t* panels, Threads& threads) {
    const Reader reader(family, type, K);
    const size_t one = (reader.scratch_size() + 63) / 64 * 64;
    Scratch scratch;
    if (!scratch.take(one * threads.count())) return false;
    uint8_t* const memory = scratch.take(0);
    const size_t panel_size = family.panel_size(K);
    threads.run((N + family.columns - 1) / family.columns, [&](int64_t panel, int thread) {
        const int64_t first = panel * family.columns;
        const Rows read = reader.read((const uint8_t*)rows + first * reader.row_size(),
                                      (int)std::min<int64_t>(family.columns, N - first), memory + thread * one);
        family.pack(read, K, panels + panel * panel_size);
    });
    return true;
}

}  // namespace jlocal
