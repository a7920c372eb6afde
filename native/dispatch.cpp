// The families of kernels that the compiler supports, and the choice among them at run time.
#include <cstring>

#include "attention.h"
#include "family.h"
#include "tokenwise.h"

namespace jlocal {

// build.py defines these for the files that it compiles.
#ifdef JLOCAL_BF16_AMX
extern const Family kFamilyBf16Amx, kFamilyQ8Amx;
extern const AttentionKernels kAttentionAmx;
#endif
#ifdef JLOCAL_BF16
extern const Family kFamilyBf16;
extern const AttentionKernels kAttentionBf16;
#endif
#ifdef JLOCAL_INT8
extern const Family kFamilyInt8;
#endif
#ifdef JLOCAL_INT8_VNNI256
extern const Family kFamilyInt8Vnni256;
#endif
#ifdef JLOCAL_AVX2
extern const Family kFamilyInt8Avx2, kFamilyF32Avx2;
extern const AttentionKernels kAttentionAvx2;
extern const TokenKernels kTokenKernelsAvx2;
#endif

const Family* const kFamilies[] = {
#ifdef JLOCAL_BF16_AMX
    &kFamilyBf16Amx,
    &kFamilyQ8Amx,
#endif
#ifdef JLOCAL_BF16
    &kFamilyBf16,
#endif
#ifdef JLOCAL_INT8
    &kFamilyInt8,
#endif
#ifdef JLOCAL_INT8_VNNI256
    &kFamilyInt8Vnni256,
#endif
#ifdef JLOCAL_AVX2
    &kFamilyInt8Avx2,
    &kFamilyF32Avx2,
#endif
    nullptr,
};
const int kFamilyCount = sizeof kFamilies / sizeof *kFamilies - 1;

const Family* fastest(Form form) {
    for (int i = 0; i < kFamilyCount; i++)
        if (kFamilies[i]->form == form && kFamilies[i]->runs_on(cpu())) return kFamilies[i];
    return nullptr;
}

const Family* family_by_name(const char* name) {
    for (int i = 0; i < kFamilyCount; i++)
        if (!std::strcmp(kFamilies[i]->name, name)) return kFamilies[i]->runs_on(cpu()) ? kFamilies[i] : nullptr;
    return nullptr;
}

const AttentionKernels* attention_kernels(const char* name) {
    const AttentionKernels* const all[] = {
#ifdef JLOCAL_BF16_AMX
        &kAttentionAmx,
#endif
#ifdef JLOCAL_BF16
        &kAttentionBf16,
#endif
#ifdef JLOCAL_AVX2
        &kAttentionAvx2,
#endif
        nullptr,
    };
    for (int i = 0; all[i]; i++)
        if (all[i]->runs_on(cpu()) && (!name || !std::strcmp(name, all[i]->name))) return all[i];
    return nullptr;
}

const TokenKernels* token_kernels() {
#ifdef JLOCAL_AVX2
    static const bool runs = kTokenKernelsAvx2.runs_on(cpu());
    return runs ? &kTokenKernelsAvx2 : nullptr;
#else
    return nullptr;
#endif
}

}  // namespace jlocal
