/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef GODWIT_TARGET_RISCV_DECODE_RVC_H
#define GODWIT_TARGET_RISCV_DECODE_RVC_H

#include "target/riscv-decode.h"

/* Expand a 16-bit instruction; part of rv_decode(). */
RvInsn rvc_decode(uint16_t bits, unsigned exts);

#endif
