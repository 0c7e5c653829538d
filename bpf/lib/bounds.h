/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The one bounds check. */
#pragma once
#include <linux/types.h>
#include <bpf/bpf_helpers.h>
#include "pkt.h"

/* `len` (a constant) bytes at `off`, or NULL when the packet ends before. The pointer is computed once and it is this
 * one that is compared and used: to the verifier a second `data + off` would be another, unchecked pointer. Verifiers
 * up to 5.11 lose the bounds of a number that went through the stack, so the offset is masked here and not where it is
 * set. */
static __always_inline void *at(const struct pkt *pkt, __u32 off, __u32 len)
{
	void *p = pkt->data + (off & PKT_OFF_MASK);

	return p + len <= pkt->end ? p : NULL;
}
