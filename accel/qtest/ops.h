/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef GODWIT_ACCEL_QTEST_OPS_H
#define GODWIT_ACCEL_QTEST_OPS_H

#include "accel/accel.h"

extern const AccelOps qtest_accel_ops;

#endif
