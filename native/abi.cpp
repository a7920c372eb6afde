// Finds ggml's functions in the loaded libraries, and checks the declarations of abi.h against them.
#include "abi.h"

#include <dlfcn.h>

#include <cstring>

namespace jlocal::ggml {

Api api;

namespace {

// Looked up by soname: the wheel of llama-cpp-python holds copies in place of symbolic links, so a
// path would load a second ggml.
void* loaded(const char* soname) { return dlopen(soname, RTLD_LAZY | RTLD_NOLOAD); }

template <class F>
bool find(F*& function, void* library, const char* name) {
    void* found = library ? dlsym(library, name) : nullptr;
    if (!found) found = dlsym(RTLD_DEFAULT, name);  // ggml inside another library, or in the program
    function = reinterpret_cast<F*>(found);
    return found != nullptr;
}

const char* find_all() {
    void* base = loaded("libggml-base.so.0");
    void* cpu = loaded("libggml-cpu.so.0");
    bool found = true;
#define FIND(library, name) found &= find(api.name, library, #name)
    FIND(base, ggml_version);
    FIND(base, ggml_tensor_overhead);
    FIND(base, ggml_init);
    FIND(base, ggml_free);
    FIND(base, ggml_new_tensor_4d);
    FIND(base, ggml_mul_mat);
    FIND(base, ggml_flash_attn_ext);
    FIND(base, ggml_add);
    FIND(base, ggml_mul);
    FIND(base, ggml_rms_norm);
    FIND(base, ggml_swiglu_split);
    FIND(base, ggml_rope_ext);
    FIND(base, ggml_set_rows);
    FIND(base, ggml_set_name);
    FIND(base, ggml_nbytes);
    FIND(base, ggml_row_size);
    FIND(base, ggml_is_contiguous);
    FIND(base, ggml_get_type_traits);
    FIND(base, ggml_graph_n_nodes);
    FIND(base, ggml_graph_nodes);
    FIND(base, ggml_backend_buffer_init);
    FIND(base, ggml_backend_cpu_buffer_type);
    FIND(base, ggml_backend_buft_is_host);
    FIND(base, ggml_backend_tensor_get);
    FIND(base, ggml_backend_buft_alloc_buffer);
    FIND(base, ggml_backend_buffer_free);
    FIND(cpu, ggml_backend_cpu_reg);
    FIND(base, ggml_backend_reg_dev_get);
    FIND(base, ggml_backend_dev_backend_reg);
    FIND(base, ggml_backend_dev_init);
    FIND(base, ggml_backend_free);
#undef FIND
    return found ? nullptr : "ggml is not loaded, or lacks a function";
}

bool is_shape(const Tensor* t, Type type, int64_t a, int64_t b, int64_t c, int64_t d) {
    return t->type == type && t->ne[0] == a && t->ne[1] == b && t->ne[2] == c && t->ne[3] == d && !t->data;
}

// Tensors of odd shapes, in which every field has a different value.
bool tensors_agree(Context* context) {
    Tensor* w = api.ggml_new_tensor_4d(context, kF16, 64, 3, 1, 1);
    Tensor* x = api.ggml_new_tensor_4d(context, kF32, 64, 5, 7, 11);
    api.ggml_set_name(w, "jlocal");
    if (!is_shape(w, kF16, 64, 3, 1, 1) || std::strcmp(w->name, "jlocal") || w->nb[1] != 128) return false;
    const Tensor* product = api.ggml_mul_mat(context, w, x);
    if (!is_shape(product, kF32, 3, 5, 7, 11) || product->op != kMulMat || product->src[0] != w ||
        product->src[1] != x || product->src[2] || product->nb[2] != 60)
        return false;
    Tensor* q = api.ggml_new_tensor_4d(context, kF32, 64, 5, 4, 1);
    Tensor* k = api.ggml_new_tensor_4d(context, kF16, 64, 96, 2, 1);
    Tensor* v = api.ggml_new_tensor_4d(context, kF16, 32, 96, 2, 1);
    Tensor* mask = api.ggml_new_tensor_4d(context, kF16, 96, 64, 1, 1);
    const Tensor* attention = api.ggml_flash_attn_ext(context, q, k, v, mask, 0.25f, 0, 0);
    float scale;
    std::memcpy(&scale, attention->op_params, sizeof scale);
    return is_shape(attention, kF32, 32, 4, 5, 1) && attention->op == kFlashAttention && attention->src[2] == v &&
           attention->src[3] == mask && !attention->src[4] && scale == 0.25f;
}

template <class T>
bool has(const Tensor* op, int parameter, T value) {
    return !std::memcmp(&op->op_params[parameter], &value, sizeof value);
}

bool tokenwise_agree(Context* context) {
    Tensor* x = api.ggml_new_tensor_4d(context, kF32, 64, 5, 7, 1);
    Tensor* y = api.ggml_new_tensor_4d(context, kF32, 64, 5, 7, 1);
    const Tensor *sum = api.ggml_add(context, x, y), *product = api.ggml_mul(context, x, y), *norm = api.ggml_rms_norm(context, x, 0.25f);
    const Tensor* gate = api.ggml_swiglu_split(context, x, y);
    if (sum->op != kAdd || sum->src[1] != y || product->op != kMul || product->src[0] != x || norm->op != kRmsNorm ||
        !has(norm, 0, 0.25f) || gate->op != kGlu || gate->src[0] != x || gate->src[1] != y || !has(gate, 0, 2) || !has(gate, 1, 0))
        return false;
    Tensor* positions = api.ggml_new_tensor_4d(context, kI32, 7, 1, 1, 1);
    const Tensor* turned = api.ggml_rope_ext(context, x, positions, nullptr, 64, 2, 11, 0.5f, 1.5f, 2.5f, 3.5f, 4.5f, 5.5f);
    if (turned->op != kRope || turned->src[1] != positions || turned->src[2] || !has(turned, 1, 64) || !has(turned, 2, 2) ||
        !has(turned, 5, 0.5f) || !has(turned, 6, 1.5f) || !has(turned, 7, 2.5f) || !has(turned, 8, 3.5f) || !has(turned, 15, 0))
        return false;
    Tensor* rows = api.ggml_new_tensor_4d(context, kF32, 64, 7, 1, 1);
    Tensor* cache = api.ggml_new_tensor_4d(context, kF16, 64, 13, 1, 1);
    Tensor* numbers = api.ggml_new_tensor_4d(context, kI64, 7, 1, 1, 1);
    const Tensor* set = api.ggml_set_rows(context, cache, rows, numbers);
    return set->op == kSetRows && is_shape(set, kF16, 64, 13, 1, 1) && set->src[0] == rows && set->src[1] == numbers;
}

bool traits_agree() {
    const TypeTraits* q8 = api.ggml_get_type_traits(kQ8_0);
    const TypeTraits* bf16 = api.ggml_get_type_traits(kBF16);
    return !std::strcmp(q8->name, "q8_0") && q8->block == 32 && q8->size == 34 && q8->is_quantized && q8->to_float &&
           !std::strcmp(bf16->name, "bf16") && bf16->block == 1 && bf16->size == 2 && api.ggml_row_size(kQ8_0, 64) == 68;
}

// A buffer of the CPU backend; its fields are compared before any of its functions is called.
bool buffers_agree() {
    BufferType* type = api.ggml_backend_cpu_buffer_type();
    Buffer* buffer = api.ggml_backend_buft_alloc_buffer(type, 4096);
    if (!buffer) return false;
    const bool agree = buffer->type == type && buffer->size >= 4096 && buffer->usage == 0 && buffer->context &&
                       buffer->functions.get_base(buffer) && type->functions.is_host && type->functions.is_host(type);
    api.ggml_backend_buffer_free(buffer);
    return agree;
}

bool devices_agree() {
    Registry* registry = api.ggml_backend_cpu_reg();
    if (registry->api_version != kBackendApi) return false;
    Device* device = api.ggml_backend_reg_dev_get(registry, 0);
    if (!device || device->registry != registry || registry->functions.get_device(registry, 0) != device ||
        device->functions.get_type(device) != kCpu)
        return false;
    Backend* backend = api.ggml_backend_dev_init(device, nullptr);
    if (!backend) return false;
    const bool agree = backend->device == device && backend->context && backend->functions.graph_compute;
    api.ggml_backend_free(backend);
    return agree;
}

const char* check() {
    if (const char* reason = find_all()) return reason;
    if (std::strcmp(api.ggml_version(), kVersion)) return "the kernels were compiled for another version of ggml";
    const char* different = "the structures of the loaded ggml are not those that the kernels were compiled for";
    if (api.ggml_tensor_overhead() != kObjectSize + sizeof(Tensor)) return different;
    Context* context = api.ggml_init({32 * api.ggml_tensor_overhead(), nullptr, true});
    if (!context) return "out of memory";
    const bool agree = tensors_agree(context) && tokenwise_agree(context);
    api.ggml_free(context);
    return agree && traits_agree() && buffers_agree() && devices_agree() ? nullptr : different;
}

}  // namespace

const char* bind() {
    static const char* const reason = check();
    return reason;
}

}  // namespace jlocal::ggml
