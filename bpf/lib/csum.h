/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* One's complement sums (RFC 1071, 1624). Sums are over words as they lie in memory: byte order does not matter, as
 * long as every 16-bit field is taken where it is aligned. */
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

/* Folded, not complemented. */
static __always_inline __u16 csum_fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)((sum & 0xffff) + (sum >> 16));
}

/* A checksum field after the bytes it covers grew by delta. */
static __always_inline __u16 csum_after(__u16 check, __u32 delta)
{
	return ~csum_fold(csum_add((__u16)~check, delta));
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

/* Whether a transport checksum is only begun (CHECKSUM_PARTIAL): the stack leaves the folded sum of the pseudo header
 * in the field for the device to go on from. A program cannot see skb->ip_summed, so this is an inference; a finished
 * checksum looks the same once in 65 535 packets, and what callers then do is still right or costs one retransmission.
 */
static __always_inline bool csum_is_partial(__u16 check, const struct slb_flow_key6 *tuple, __u32 len,
					    const enum slb_family family)
{
	return check == csum_fold(csum_pseudo(tuple, tuple->proto, len, family));
}
