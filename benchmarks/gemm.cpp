// Rates that a core of this machine can reach: loops of nothing but one instruction, in G operations
// a second of processor time. A multiplication and an addition are two operations.
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace {

double processor_time() {
    timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

}  // namespace

// 16 sums that do not wait for each other; {vex} is for the encoding of AVX-VNNI.
#define SUMS(instruction, wide)                                                                        \
    instruction " %%" wide "14, %%" wide "15, %%" wide "0\n" instruction " %%" wide "14, %%" wide "15, %%" wide "1\n"   \
    instruction " %%" wide "14, %%" wide "15, %%" wide "2\n" instruction " %%" wide "14, %%" wide "15, %%" wide "3\n"   \
    instruction " %%" wide "14, %%" wide "15, %%" wide "4\n" instruction " %%" wide "14, %%" wide "15, %%" wide "5\n"   \
    instruction " %%" wide "14, %%" wide "15, %%" wide "6\n" instruction " %%" wide "14, %%" wide "15, %%" wide "7\n"   \
    instruction " %%" wide "14, %%" wide "15, %%" wide "8\n" instruction " %%" wide "14, %%" wide "15, %%" wide "9\n"   \
    instruction " %%" wide "14, %%" wide "15, %%" wide "10\n" instruction " %%" wide "14, %%" wide "15, %%" wide "11\n"

#define PEAK(name, instruction, wide, operations)                                                                    \
    EXPORT double name(void) {                                                                                       \
        double least = 1e9;                                                                                          \
        for (int round = 0; round < 7; round++) {                                                                    \
            long count = 2000000;                                                                                    \
            const double begin = processor_time();                                                                   \
            __asm__ volatile("1:\n" SUMS(instruction, wide) "dec %0\njnz 1b\n"                                       \
                             : "+r"(count)                                                                           \
                             :                                                                                       \
                             : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",       \
                               "xmm10", "xmm11", "xmm14", "xmm15");                                                  \
            const double seconds = processor_time() - begin;                                                         \
            if (seconds < least) least = seconds;                                                                    \
        }                                                                                                            \
        return 12.0 * 2000000 * operations / least / 1e9;                                                            \
    }

PEAK(peak_bf16, "vdpbf16ps", "zmm", 64)
PEAK(peak_int8, "vpdpbusd", "zmm", 128)
PEAK(peak_int8_vnni256, "%{vex%} vpdpbusd", "ymm", 64)
PEAK(peak_int8_avx2, "vpmaddwd", "ymm", 32)
PEAK(peak_f32_avx2, "vfmadd231ps", "ymm", 16)

// Tiles of AMX: 8,192 multiplications an instruction.
EXPORT double peak_bf16_amx(void) {
    struct alignas(64) {
        unsigned char palette = 1, start_row = 0, reserved[14] = {};
        unsigned short bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
        unsigned char rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
    } configuration;
    if (syscall(SYS_arch_prctl, 0x1023, 18)) return 0;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
    __asm__ volatile("ldtilecfg %0" : : "m"(configuration));
    double least = 1e9;
    for (int round = 0; round < 7; round++) {
        long count = 200000;
        const double begin = processor_time();
        __asm__ volatile(
            "1:\n"
            "tdpbf16ps %%tmm6, %%tmm4, %%tmm0\ntdpbf16ps %%tmm7, %%tmm4, %%tmm1\n"
            "tdpbf16ps %%tmm6, %%tmm5, %%tmm2\ntdpbf16ps %%tmm7, %%tmm5, %%tmm3\n"
            "dec %0\njnz 1b\n"
            : "+r"(count));
        const double seconds = processor_time() - begin;
        if (seconds < least) least = seconds;
    }
    __asm__ volatile("tilerelease");
    return 4.0 * 200000 * 16384 / least / 1e9;
}
