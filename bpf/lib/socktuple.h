/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* A packet's tuple as helpers and kfuncs take it that look up sockets and connections; returns its size. */
#pragma once
#include <linux/bpf.h>
#include "../abi/flow.h"
#include "addr.h"

static __always_inline __u32 sock_tuple_of(struct bpf_sock_tuple *tuple, const struct slb_flow_key6 *packet,
					   const enum slb_family family)
{
	if (family == SLB_IP4) {
		tuple->ipv4.saddr = packet->saddr[0];
		tuple->ipv4.daddr = packet->daddr[0];
		tuple->ipv4.sport = packet->sport;
		tuple->ipv4.dport = packet->dport;
		return sizeof(tuple->ipv4);
	}
	addr_copy(tuple->ipv6.saddr, packet->saddr);
	addr_copy(tuple->ipv6.daddr, packet->daddr);
	tuple->ipv6.sport = packet->sport;
	tuple->ipv6.dport = packet->dport;
	return sizeof(tuple->ipv6);
}
