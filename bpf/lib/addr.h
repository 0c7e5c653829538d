/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Addresses in tables have 16 bytes, IPv4 as ::ffff:a.b.c.d ("mapped"). In tuples an IPv4 address is the first of four
 * words and the others are 0. */
#pragma once
#include <bpf/bpf_endian.h>
#include "pkt.h"

static __always_inline __u32 addr_words(const enum slb_family family)
{
	return family == SLB_IP4 ? 1 : 4;
}

static __always_inline bool addr_equal(const __be32 *a, const __be32 *b, const enum slb_family family)
{
	if (family == SLB_IP4)
		return a[0] == b[0];
	return !((a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3]));
}

/* Always four words, for both families. */
static __always_inline void addr_copy(__be32 *to, const __be32 *from)
{
	to[0] = from[0];
	to[1] = from[1];
	to[2] = from[2];
	to[3] = from[3];
}

/* From a tuple to a table. */
static __always_inline void addr_map(__be32 *to, const __be32 *addr, const enum slb_family family)
{
	if (family == SLB_IP6) {
		addr_copy(to, addr);
		return;
	}
	to[0] = to[1] = 0;
	to[2] = bpf_htonl(0xffff);
	to[3] = addr[0];
}

/* Whether an address of a tuple is in 127.0.0.0/8 or ::1. */
static __always_inline bool addr_loopback(const __be32 *addr, const enum slb_family family)
{
	if (family == SLB_IP4)
		return (addr[0] & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000);
	return !(addr[0] | addr[1] | addr[2]) && addr[3] == bpf_htonl(1);
}

/* From a table to a tuple. */
static __always_inline void addr_unmap(__be32 *to, const __be32 *mapped, const enum slb_family family)
{
	if (family == SLB_IP6) {
		addr_copy(to, mapped);
		return;
	}
	to[0] = mapped[3];
	to[1] = to[2] = to[3] = 0;
}
