/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Bounds-checked access to the packet. */
#pragma once
#include <linux/types.h>
#include <bpf/bpf_helpers.h>
#include "pkt.h"

/* Returns `len` (a constant) bytes at `off`, or NULL when the linear part of the packet ends before. The pointer that
 * is compared is the one that is returned: to the verifier a second `data + off` is another pointer, without a range.
 * Verifiers before 5.12 lose the bounds of a scalar that is spilled, so the offset is masked here and not where it is
 * computed. */
static __always_inline void *at(const struct pkt *pkt, __u32 off, __u32 len)
{
	void *p = pkt->data + (off & PKT_OFF_MASK);

	return p + len <= pkt->end ? p : NULL;
}
