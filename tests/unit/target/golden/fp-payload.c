/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Runs on the peer in M-mode: prints one hash for each group of fp-cases.h. */
#include "fp-cases.h"
#include "payload.h"

typedef uint64_t OpFn(const uint64_t v[3]);

#define RUN(text) \
    uint64_t r;   \
    __asm__ volatile(text : "=r"(r) : "r"(v[0]), "r"(v[1]), "r"(v[2]) : "ft0", "ft1", "ft2", "ft3")

#define LOAD32 "fmv.w.x ft0, %1\nfmv.w.x ft1, %2\nfmv.w.x ft2, %3\n"
#define LOAD64 "fmv.d.x ft0, %1\nfmv.d.x ft1, %2\nfmv.d.x ft2, %3\n"
#define TO_F32 "ft3"
#define TO_F64 "ft3"
#define TO_INT "%0"
/* FP results are read back whole, so boxing is checked too. */
#define BACK_F32  "\nfmv.x.d %0, ft3"
#define BACK_F64  "\nfmv.x.d %0, ft3"
#define BACK_INT  ""
#define SOURCES_0 ", %1"
#define SOURCES_1 ", ft0"
#define SOURCES_2 ", ft0, ft1"
#define SOURCES_3 ", ft0, ft1, ft2"

#define X(name, text, width, result, n)                                          \
    static uint64_t op_##name(const uint64_t v[3])                               \
    {                                                                            \
        RUN(LOAD##width text " " TO_##result SOURCES_##n ", dyn" BACK_##result); \
        return r;                                                                \
    }
FP_CASE_OPS(X)
#undef X
#define X(name, text, width, result, n)                                  \
    static uint64_t op_##name(const uint64_t v[3])                       \
    {                                                                    \
        RUN(LOAD##width text " " TO_##result SOURCES_##n BACK_##result); \
        return r;                                                        \
    }
FP_CASE_OPS_NO_RM(X)
#undef X

static const struct {
    OpFn *fn;
    const char *name;
    int width, operands;
} ops[] = {
#define X(name, text, width, result, n) {op_##name, text, width, n},
    FP_CASE_OPS(X) FP_CASE_OPS_NO_RM(X)
#undef X
};

int main(void)
{
    for (int op = 0; op < FPC__MAX; op++) {
        for (int rm = 0; rm < (op < FPC__FIRST_NO_RM ? FP_CASE_RM : 1); rm++) {
            uint64_t state = fpc_seed(op, rm), hash = 0;

            __asm__ volatile("fsrm %0" ::"r"((long)rm));
            for (int i = 0; i < FP_CASE_COUNT; i++) {
                uint64_t v[3], r, flags;

                for (int k = 0; k < 3; k++) {
                    v[k] = fpc_operand(&state, ops[op].width, ops[op].operands == 0);
                }
                __asm__ volatile("fsflags zero");
                r = ops[op].fn(v);
                __asm__ volatile("frflags %0" : "=r"(flags));
                hash = fpc_hash(fpc_hash(hash, r), flags);
            }
            print_text("    0x");
            print_hex(hash, 16);
            print_text("ull, /* ");
            print_text(ops[op].name);
            print_text(" rm ");
            print_hex(rm, 1);
            print_text(" */\n");
        }
    }
    return 0;
}
