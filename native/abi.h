// Declarations of the few structures and functions of ggml that the backend uses, because
// llama-cpp-python installs no headers. They are valid only for ggml 0.25.3; `bind()` compares them
// with structures that the loaded ggml makes, and the library refuses to work if any differs.
#pragma once
#include <cstddef>
#include <cstdint>

namespace jlocal::ggml {

inline constexpr const char* kVersion = "0.25.3";
inline constexpr int kBackendApi = 2;
inline constexpr size_t kObjectSize = 32;  // what a ggml context stores beside each tensor

enum Type : int32_t { kF32 = 0, kF16 = 1, kQ8_0 = 8, kI32 = 26, kI64 = 27, kBF16 = 30, kTypeCount = 43 };
enum Op : int32_t {
    kNone = 0, kAdd = 2, kMul = 7, kRmsNorm = 25, kMulMat = 29, kReshape = 36, kView = 37, kPermute = 38, kTranspose = 39,
    kSetRows = 42, kRope = 48, kFlashAttention = 74, kGlu = 100,
};
enum Flag : int32_t { kOutput = 2 };
enum Status : int32_t { kAllocationFailed = -2, kFailed = -1, kSuccess = 0 };
enum DeviceType : int32_t { kCpu = 0, kAccelerator = 3 };

struct Buffer;
struct BufferType;
struct Device;
struct Registry;
struct Backend;
struct Graph;
struct Context;

struct Tensor {
    Type type;
    Buffer* buffer;
    int64_t ne[4];  // numbers of elements, the innermost dimension first
    size_t nb[4];   // strides in bytes
    Op op;
    int32_t op_params[16];
    int32_t flags;
    Tensor* src[10];
    Tensor* view_src;
    size_t view_offs;
    void* data;
    char name[64];
    void* extra;
    char padding[8];
};

struct BufferTypeFunctions {
    const char* (*get_name)(BufferType*);
    Buffer* (*alloc_buffer)(BufferType*, size_t size);
    size_t (*get_alignment)(BufferType*);
    size_t (*get_max_size)(BufferType*);
    size_t (*get_alloc_size)(BufferType*, const Tensor*);
    bool (*is_host)(BufferType*);
};
struct BufferType {
    BufferTypeFunctions functions;
    Device* device;
    void* context;
};

struct BufferFunctions {
    void (*free_buffer)(Buffer*);
    void* (*get_base)(Buffer*);
    Status (*init_tensor)(Buffer*, Tensor*);
    void (*memset_tensor)(Buffer*, Tensor*, uint8_t value, size_t offset, size_t size);
    void (*set_tensor)(Buffer*, Tensor*, const void* data, size_t offset, size_t size);
    void (*get_tensor)(Buffer*, const Tensor*, void* data, size_t offset, size_t size);
    void* set_tensor_2d;
    void* get_tensor_2d;
    bool (*cpy_tensor)(Buffer*, const Tensor* source, Tensor* target);
    void (*clear)(Buffer*, uint8_t value);
    void (*reset)(Buffer*);
};
struct Buffer {
    BufferFunctions functions;
    BufferType* type;
    void* context;
    size_t size;
    int32_t usage;
};

struct BackendFunctions {
    const char* (*get_name)(Backend*);
    void (*free)(Backend*);
    void* asynchronous[5];  // set, get, set_2d, get_2d, copy
    void (*synchronize)(Backend*);
    void* plans[4];  // create, free, update, compute
    Status (*graph_compute)(Backend*, Graph*);
    void* events[2];  // record, wait
    void* graph_optimize;
};
struct Backend {
    const uint8_t (*guid)[16];
    BackendFunctions functions;
    Device* device;
    void* context;
};

struct DeviceProperties {
    const char* name;
    const char* description;
    size_t memory_free, memory_total;
    DeviceType type;
    const char* id;
    struct {
        bool async, host_buffer, buffer_from_host_ptr, events, mmap;
    } capabilities;
};
struct DeviceFunctions {
    const char* (*get_name)(Device*);
    const char* (*get_description)(Device*);
    void (*get_memory)(Device*, size_t* free, size_t* total);
    DeviceType (*get_type)(Device*);
    void (*get_properties)(Device*, DeviceProperties*);
    Backend* (*init_backend)(Device*, const char* parameters);
    BufferType* (*get_buffer_type)(Device*);
    void* get_host_buffer_type;
    void* buffer_from_host_ptr;
    bool (*supports_op)(Device*, const Tensor* op);
    bool (*supports_buffer_type)(Device*, BufferType*);
    void* offload_op;
    void* events[3];  // new, free, synchronize
};
struct Device {
    DeviceFunctions functions;
    Registry* registry;
    void* context;
};

struct RegistryFunctions {
    const char* (*get_name)(Registry*);
    size_t (*get_device_count)(Registry*);
    Device* (*get_device)(Registry*, size_t index);
    void* (*get_proc_address)(Registry*, const char* name);
};
struct Registry {
    int32_t api_version;
    RegistryFunctions functions;
    void* context;
};

struct TypeTraits {
    const char* name;
    int64_t block, block_interleave;
    size_t size;
    bool is_quantized;
    void (*to_float)(const void* row, float* values, int64_t count);
    void* from_float;
};

struct InitParameters {
    size_t memory_size;
    void* memory;
    bool no_alloc;
};

// Functions of the ggml that the process has already loaded; a second copy would have its own
// registries.
struct Api {
    const char* (*ggml_version)();
    size_t (*ggml_tensor_overhead)();
    Context* (*ggml_init)(InitParameters);
    void (*ggml_free)(Context*);
    Tensor* (*ggml_new_tensor_4d)(Context*, Type, int64_t, int64_t, int64_t, int64_t);
    Tensor* (*ggml_mul_mat)(Context*, Tensor*, Tensor*);
    Tensor* (*ggml_flash_attn_ext)(Context*, Tensor* q, Tensor* k, Tensor* v, Tensor* mask, float scale, float bias, float cap);
    Tensor* (*ggml_add)(Context*, Tensor*, Tensor*);
    Tensor* (*ggml_mul)(Context*, Tensor*, Tensor*);
    Tensor* (*ggml_rms_norm)(Context*, Tensor*, float epsilon);
    Tensor* (*ggml_swiglu_split)(Context*, Tensor*, Tensor*);
    Tensor* (*ggml_rope_ext)(Context*, Tensor*, Tensor* positions, Tensor* factors, int dimensions, int mode, int context, float base, float scale,
                             float extrapolation, float attention, float fast, float slow);
    Tensor* (*ggml_set_rows)(Context*, Tensor* to, Tensor* from, Tensor* numbers);
    Tensor* (*ggml_set_name)(Tensor*, const char*);
    size_t (*ggml_nbytes)(const Tensor*);
    size_t (*ggml_row_size)(Type, int64_t count);
    bool (*ggml_is_contiguous)(const Tensor*);
    const TypeTraits* (*ggml_get_type_traits)(Type);
    int (*ggml_graph_n_nodes)(Graph*);
    Tensor** (*ggml_graph_nodes)(Graph*);
    Buffer* (*ggml_backend_buffer_init)(BufferType*, BufferFunctions, void* context, size_t size);
    BufferType* (*ggml_backend_cpu_buffer_type)();
    bool (*ggml_backend_buft_is_host)(BufferType*);
    void (*ggml_backend_tensor_get)(const Tensor*, void* data, size_t offset, size_t size);
    Buffer* (*ggml_backend_buft_alloc_buffer)(BufferType*, size_t size);
    void (*ggml_backend_buffer_free)(Buffer*);
    Registry* (*ggml_backend_cpu_reg)();
    Device* (*ggml_backend_reg_dev_get)(Registry*, size_t);
    Registry* (*ggml_backend_dev_backend_reg)(Device*);
    Backend* (*ggml_backend_dev_init)(Device*, const char*);
    void (*ggml_backend_free)(Backend*);
};
extern Api api;

// Find the functions and check the structures, once. Returns nullptr, or the reason why the library
// cannot be used.
const char* bind();

}  // namespace jlocal::ggml
