/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* One's complement sums (RFC 1071, RFC 1624) over words as they lie in memory. They do not depend on byte order as long
 * as every 16-bit field is aligned. */
#pragma once
#include <linux/types.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include "pkt.h"

static __always_inline __u32 csum_add(__u32 a, __u32 b)
{
	__u64 sum = (__u64)a + b;

	return (__u32)sum + (__u32)(sum >> 32);
}

/* Folds a sum to 16 bits. Not complemented, other than the kernel's csum_fold(). */
static __always_inline __u16 csum_to16(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)((sum & 0xffff) + (sum >> 16));
}

/* The new value of a checksum field when the sum of what it covers grows by delta, as csum_replace_by_diff(). */
static __always_inline __u16 csum_by_diff(__u16 check, __u32 delta)
{
	return ~csum_to16(csum_add((__u16)~check, delta));
}

static __always_inline __u32 csum_addr(const __be32 *addr, const enum slb_family family)
{
	__u32 sum = addr[0];

	if (family == SLB_IP6) {
		sum = csum_add(sum, addr[1]);
		sum = csum_add(sum, addr[2]);
		sum = csum_add(sum, addr[3]);
	}
	return sum;
}

static __always_inline __u32 csum_pseudo(const struct slb_flow_key6 *tuple, __u8 proto, __u32 len,
					 const enum slb_family family)
{
	__u32 sum = csum_add(csum_addr(tuple->saddr, family), csum_addr(tuple->daddr, family));

	return csum_add(csum_add(sum, bpf_htonl(len)), bpf_htons(proto));
}

/* Whether a transport checksum is CHECKSUM_PARTIAL: the field holds the folded sum of the pseudo header, and the device
 * completes it. Programs cannot read skb->ip_summed, so this is an inference. A complete checksum has that value in one
 * of 65 535 packets; callers then still do right, or cause one retransmission. */
static __always_inline bool csum_is_partial(__u16 check, const struct slb_flow_key6 *tuple, __u32 len,
					    const enum slb_family family)
{
	return check == csum_to16(csum_pseudo(tuple, tuple->proto, len, family));
}
