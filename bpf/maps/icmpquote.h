/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The start of a rejected packet, which the ICMP error quotes. */
#pragma once
#include "../abi/limits.h"
#include "onerow.h"

struct slb_icmp_quote {
	__u8 bytes[SLB_ICMP_QUOTE];
};

ONE_ROW(PERCPU_ARRAY, slb_icmp_quote, struct slb_icmp_quote, icmp_quote_get)
