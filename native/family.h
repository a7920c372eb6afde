// What a family of kernels offers, and the list of families.
//
// A matrix of weights W has N rows of K values; a product is out[m][n] = sum over k of x[m][k] *
// W[n][k]. Rows of W are columns of the result, so a family packs them into panels of `columns`
// columns; the last panel is filled up with zeros. A product converts rows of x once, and takes
// each panel past all of them.
//
// A file of kernels is compiled for instruction sets that the processor may lack. It includes this
// file and immintrin.h alone, and keeps its functions in an unnamed namespace: of an inline
// function in several files, such as one of the standard library, the linker keeps any one copy.
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "cpu.h"

namespace jlocal {

inline constexpr int kBlock = 32;        // values with a scale of their own, as in Q8_0
inline constexpr int kMaxColumns = 64;   // of all families

// Rows of weights, as families take them; `count` of them, one for each column of a panel.
struct Rows {
    int count;
    // bfloat16: `stride` values from row to row
    const uint16_t* bf16;
    size_t stride;
    // int8: K values a row, and a scale for each block of them
    const int8_t* values;
    const float* scales;
};

// Weights that the thread will probably take next. Kernels may fetch them into the cache while they compute.
struct Later {
    const uint8_t *begin = nullptr, *end = nullptr;
};

// So few rows wait for the weights, and are multiplied together.
inline constexpr int64_t kFewRows = 32;
// Of so many values of a row, families keep in their scratch what they make of a panel.
inline constexpr int64_t kDepth = 1024;

// kOnly: no other rows pass these panels, and these are few. Otherwise many pass them, in one call, or in calls
// that follow each other with the same scratch and, from the second on, kAgain; K is then at most kDepth.
enum class Pass { kOnly, kFirst, kAgain };

// kQ8 has the rows of kInt8; its products are those of bfloat16.
enum class Form { kBf16, kInt8, kQ8 };

struct Family {
    const char* name;
    Form form;    // of the rows that it packs
    int columns;  // of a panel
    bool (*runs_on)(const Cpu&);
    // Bytes of a panel, a multiple of 64. K is a multiple of kBlock.
    size_t (*panel_size)(int64_t K);
    void (*pack)(const Rows& rows, int64_t K, uint8_t* panel);
    // Bytes of a converted row of x, a multiple of 64.
    size_t (*row_size)(int64_t K);
    void (*convert)(const float* x, int64_t K, uint8_t* row);
    // out[m * out_stride + n], for `rows` rows of `stride` bytes and the first `columns` columns of a
    // panel, or of panels_together panels. The result of a row does not depend on the number of rows.
    void (*multiply)(const uint8_t* x, size_t stride, int64_t rows, const uint8_t* panel, int64_t K, float* out,
                     size_t out_stride, int columns, uint8_t* scratch, Pass pass, Later& later);
    int (*panels_together)(int64_t K) = nullptr;
    size_t (*scratch_size)(int64_t K) = nullptr;  // bytes of scratch
    // gate / (1 + exp(-gate)) * up, converted: `count` values from `first` on of a row of K, multiples of 32.
    void (*convert_gated)(const float* gate, const float* up, int64_t first, int64_t count, int64_t K, uint8_t* row) = nullptr;
    // Converted rows are values in bfloat16, one after another.
    bool rows_in_bf16 = false;
    // Takes the matrices in Q8_0, whose values it need not widen before they are used.
    const Family* for_q8_0 = nullptr;
};

// All families that the compiler knew, the fastest first.
extern const Family* const kFamilies[];
extern const int kFamilyCount;

// The fastest family of this processor for a form of weights, or nullptr.
const Family* fastest(Form form);
const Family* family_by_name(const char* name);

}  // namespace jlocal
