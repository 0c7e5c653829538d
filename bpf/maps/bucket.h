/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The token bucket of ICMP errors, one per CPU. A row of zeros is a full bucket. */
#pragma once
#include "../abi/bucket.h"
#include "onerow.h"

ONE_ROW(PERCPU_ARRAY, slb_bucket, struct slb_bucket, bucket_get)
