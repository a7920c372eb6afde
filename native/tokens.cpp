#include "tokens.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <iterator>

#include "tokenwise.h"

namespace jlocal {
namespace {

using ggml::api;
using ggml::Tensor;

// Values of a piece, in all its operations: they fit the second-level cache.
constexpr int64_t kValuesOfPiece = 128 * 1024;
// Below so many values, waking another thread takes longer than it saves.
constexpr int64_t kWorthSharing = 64 * 1024;

template <class T>
T parameter(const Tensor* op, int index) {
    T value;
    std::memcpy(&value, &op->op_params[index], sizeof value);
    return value;
}

bool is_float(const Tensor* t) { return t && t->type == ggml::kF32 && t->ne[0] % 16 == 0 && api.ggml_is_contiguous(t); }
bool same_shape(const Tensor* a, const Tensor* b) { return std::equal(a->ne, a->ne + 4, b->ne); }
int64_t values(const Tensor* t) { return t->ne[0] * t->ne[1] * t->ne[2] * t->ne[3]; }
int64_t rows(const Tensor* t) { return t->ne[1] * t->ne[2] * t->ne[3]; }
bool is_row(const Tensor* t) { return rows(t) == 1; }

// The tensor whose shape and rows are those of the work.
const Tensor* worked(const Tensor* op) { return op->op == ggml::kSetRows ? op->src[0] : op; }

bool rotates(const Tensor* op) {
    constexpr int kHalves = 2;  // of a head, as in GPT-NeoX
    const Tensor *x = op->src[0], *positions = op->src[1];
    return is_float(x) && is_float(op) && same_shape(x, op) && op->ne[3] == 1 && !op->src[2] && positions->type == ggml::kI32 &&
           api.ggml_is_contiguous(positions) && parameter<int32_t>(op, 1) == op->ne[0] && parameter<int32_t>(op, 2) == kHalves &&
           parameter<float>(op, 7) == 0 && parameter<int32_t>(op, 15) == 0;
}

bool sets_rows(const Tensor* op) {
    const Tensor *x = op->src[0], *numbers = op->src[1];
    return is_float(x) && x->ne[2] == 1 && x->ne[3] == 1 && numbers->type == ggml::kI64 && api.ggml_is_contiguous(numbers) &&
           op->type == ggml::kF16 && op->nb[0] == 2 && op->ne[2] == 1 && op->ne[3] == 1;
}

// ------------------------------------------------------------------------------- which form a run

struct Range {
    const char* begin;
    size_t size;
};
Range range(const Tensor* t) { return {static_cast<const char*>(t->data), api.ggml_nbytes(t)}; }

// Whether each piece of one lies where the same piece of the other does, or nothing of both does.
bool agree(const Tensor* a, const Tensor* b) {
    const Range x = range(a), y = range(b);
    return (x.begin == y.begin && x.size == y.size) || x.begin + x.size <= y.begin || y.begin + y.size <= x.begin;
}

bool same_table(const Tensor* a, const Tensor* b) {
    return a->src[1]->data == b->src[1]->data && a->ne[2] == b->ne[2] && !std::memcmp(a->op_params, b->op_params, sizeof a->op_params);
}

// Whether no piece of one operation touches what another piece of the other reads or writes.
bool independent(const Tensor* before, const Tensor* after) {
    if (!agree(before, after)) return false;
    for (const Tensor* read : before->src)
        if (read && !agree(read, after)) return false;
    for (const Tensor* read : after->src)
        if (read && !agree(before, read)) return false;
    // There is one table of cosines and sines.
    if (before->op == ggml::kRope && after->op == ggml::kRope && !same_table(before, after)) return false;
    // A row that is the same for all tokens must not be written in the run.
    return !(after->op == ggml::kMul && after->src[1]->data == before->data && is_row(after->src[1]) && !is_row(before));
}

// ----------------------------------------------------------------------------------- one operation

struct Part {
    int64_t first, last;  // rows
};

bool normalises_for(const Tensor* norm, const Tensor* next) {
    return norm->op == ggml::kRmsNorm && next->op == ggml::kMul && next->src[0] == norm && next->data == norm->data && is_row(next->src[1]);
}

void norm(const Tensor* op, const Tensor* factor, Part part) {
    const int64_t n = op->ne[0];
    const auto* x = static_cast<const float*>(op->src[0]->data);
    auto* y = static_cast<float*>(op->data);
    const auto epsilon = parameter<float>(op, 0);
    for (int64_t row = part.first; row < part.last; row++) {
        if (factor)
            token_kernels()->norm_and_multiply(x + row * n, static_cast<const float*>(factor->data), n, epsilon, y + row * n);
        else
            token_kernels()->norm(x + row * n, n, epsilon, y + row * n);
    }
}

void combine(const Tensor* op, Part part) {
    const int64_t n = op->ne[0];
    const auto kernel = op->op == ggml::kAdd ? token_kernels()->add : op->op == ggml::kMul ? token_kernels()->multiply : token_kernels()->gate;
    const auto *a = static_cast<const float*>(op->src[0]->data), *b = static_cast<const float*>(op->src[1]->data);
    const int64_t step = same_shape(op, op->src[1]) ? n : 0;
    for (int64_t row = part.first; row < part.last; row++) kernel(a + row * n, b + row * step, n, static_cast<float*>(op->data) + row * n);
}

void rotate(const Tensor* op, const float* table, Part part) {
    const int64_t n = op->ne[0], heads = op->ne[1];
    const auto* x = static_cast<const float*>(op->src[0]->data);
    for (int64_t row = part.first; row < part.last; row++)
        token_kernels()->rotate(x + row * n, table + row / heads * n, n, static_cast<float*>(op->data) + row * n);
}

bool set_rows(const Tensor* op, Part part) {
    const int64_t n = op->ne[0];
    const auto* x = static_cast<const float*>(op->src[0]->data);
    const auto* numbers = static_cast<const int64_t*>(op->src[1]->data);
    for (int64_t row = part.first; row < part.last; row++) {
        if (numbers[row] < 0 || numbers[row] >= op->ne[1]) return false;
        token_kernels()->to_half(x + row * n, n, reinterpret_cast<uint16_t*>(static_cast<char*>(op->data) + numbers[row] * op->nb[1]));
    }
    return true;
}

void convert(const Tensor* op, const Conversion& conversion, Part part) {
    const int64_t n = op->ne[0];
    const size_t stride = conversion.family->row_size(n);
    for (int64_t row = part.first; row < part.last; row++)
        conversion.family->convert(static_cast<const float*>(op->data) + row * n, n, conversion.rows + row * stride);
}

bool moves_nothing(const Tensor* t) {
    return t->op == ggml::kNone || t->op == ggml::kReshape || t->op == ggml::kView || t->op == ggml::kPermute || t->op == ggml::kTranspose;
}

}  // namespace

std::vector<Tensor*> operations(ggml::Graph* graph) {
    Tensor** nodes = api.ggml_graph_nodes(graph);
    std::vector<Tensor*> found;
    // For a part of a long text without outputs, the last layer has nothing to compute.
    std::copy_if(nodes, nodes + api.ggml_graph_n_nodes(graph), std::back_inserter(found),
                 [](const Tensor* t) { return !moves_nothing(t) && values(t) > 0; });
    return found;
}

bool is_tokenwise(const Tensor* op) {
    if (!token_kernels()) return false;
    switch (op->op) {
        case ggml::kRmsNorm: return is_float(op) && is_float(op->src[0]);
        case ggml::kAdd:
            return is_float(op) && is_float(op->src[0]) && is_float(op->src[1]) && same_shape(op, op->src[0]) && same_shape(op, op->src[1]);
        case ggml::kMul:
            return is_float(op) && is_float(op->src[0]) && is_float(op->src[1]) && same_shape(op, op->src[0]) &&
                   (same_shape(op, op->src[1]) || (is_row(op->src[1]) && op->src[1]->ne[0] == op->ne[0]));
        case ggml::kGlu: {
            constexpr int kSwish = 2;
            return is_float(op) && is_float(op->src[0]) && is_float(op->src[1]) && same_shape(op, op->src[0]) &&
                   same_shape(op, op->src[1]) && parameter<int32_t>(op, 0) == kSwish;
        }
        case ggml::kRope: return rotates(op);
        case ggml::kSetRows: return sets_rows(op);
        default: return false;
    }
}

int run_length(Tensor* const* ops, int count) {
    int length = 1;
    int64_t tokens = rows(worked(ops[0]));
    for (; length < count; length++) {
        const Tensor* next = ops[length];
        if (!is_tokenwise(next)) break;
        tokens = std::min(tokens, rows(worked(next)));
        // Each has a whole number of rows for each token.
        if (tokens == 0 || std::any_of(ops, ops + length + 1, [tokens](const Tensor* op) { return rows(worked(op)) % tokens; })) break;
        if (!std::all_of(ops, ops + length, [next](const Tensor* before) { return independent(before, next); })) break;
    }
    return length;
}

bool compute_run(Tensor* const* ops, int count, const Conversion* conversion, Rotations& rotations, Threads& threads) {
    int64_t tokens = rows(worked(ops[0])), work = 0;
    for (int i = 0; i < count; i++) {
        tokens = std::min(tokens, rows(worked(ops[i])));
        work += values(worked(ops[i]));
    }
    const float* table = nullptr;
    for (int i = 0; i < count; i++)
        if (ops[i]->op == ggml::kRope && !(table = rotations.of(ops[i], threads))) return false;

    const Tensor* last_op = ops[count - 1];
    std::atomic<bool> good{true};
    const auto compute = [&](int64_t first, int64_t last) {
        for (int i = 0; i < count; i++) {
            const Tensor* op = ops[i];
            const int64_t each = rows(worked(op)) / tokens;
            const Part part{first * each, last * each};
            switch (op->op) {
                case ggml::kRmsNorm: {
                    const bool both = i + 1 < count && normalises_for(op, ops[i + 1]);
                    norm(op, both ? ops[i + 1]->src[1] : nullptr, part);
                    i += both;
                    break;
                }
                case ggml::kRope: rotate(op, table, part); break;
                case ggml::kSetRows:
                    if (!set_rows(op, part)) good = false;
                    break;
                default: combine(op, part);
            }
        }
        if (conversion) {
            const int64_t each = rows(last_op) / tokens;
            convert(last_op, *conversion, {first * each, last * each});
        }
    };
    if (work < kWorthSharing) {
        compute(0, tokens);
    } else {
        const int64_t pieces = std::max<int64_t>(work / kValuesOfPiece, 4 * threads.count());
        const int64_t some = std::max<int64_t>(1, tokens / pieces);
        threads.run((tokens + some - 1) / some, [&](int64_t piece, int) { compute(piece * some, std::min(tokens, (piece + 1) * some)); });
    }
    return good;
}

const float* Rotations::of(const Tensor* rotation, Threads& threads) {
    const Tensor* positions = rotation->src[1];
    const int64_t n = rotation->ne[0], tokens = rotation->ne[2];
    auto* table = reinterpret_cast<float*>(scratch_.take((size_t)(tokens * n) * sizeof(float)));
    if (!table) return nullptr;
    if (made_for_ && same_table(made_for_, rotation)) return table;
    made_for_ = rotation;
    // As ggml computes them: in float32, each angle from the one before.
    const float step = std::pow(parameter<float>(rotation, 5), -2.f / (float)n), scale = parameter<float>(rotation, 6), factor = parameter<float>(rotation, 8);
    const auto* numbers = static_cast<const int32_t*>(positions->data);
    constexpr int64_t kTokens = 16;
    threads.run((tokens + kTokens - 1) / kTokens, [&](int64_t piece, int) {
        for (int64_t token = piece * kTokens; token < std::min(tokens, (piece + 1) * kTokens); token++) {
            float* row = table + token * n;
            float angle = (float)numbers[token];
            for (int64_t i = 0; i < n / 2; i++, angle *= step) {
                row[i] = std::cos(scale * angle) * factor;
                row[n / 2 + i] = std::sin(scale * angle) * factor;
            }
        }
    });
    return table;
}

}  // namespace jlocal
