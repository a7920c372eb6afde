// The instruction sets of the processor and the operating system, detected at run time.
#pragma once

namespace jlocal {

struct Cpu {
    bool avx2 = false;         // with FMA and F16C
    bool avx_vnni = false;     // int8 dot products, 256 bits wide, without AVX-512
    bool avx512 = false;       // F, BW, DQ and VL
    bool avx512_vnni = false;  // int8 dot products
    bool avx512_bf16 = false;  // bfloat16 dot products
    bool amx_bf16 = false;     // tiles of bfloat16, which the process is permitted to use
};

const Cpu& cpu();

}  // namespace jlocal
