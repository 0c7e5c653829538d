/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Frames received by a bridge port: this host's if they are addressed to the bridge itself, else the bridge forwards
 * them. In tc only. Most frames are addressed to the device that receives them, so this is in global functions. */
#pragma once
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include "../lib/addr.h"
#include "../maps/devices.h"
#include "lookup.h"

/* 1 when the device is a port of a bridge. */
__noinline int slb_bridge_port(struct __sk_buff *skb)
{
	const struct slb_device *device = device_get(skb->ifindex);

	return device && device->bridge;
}

/* Whether the frame is addressed to the device. */
static __always_inline bool bridge_own(struct __sk_buff *skb, const struct slb_device *device)
{
	const __u16 *own = (const __u16 *)device->mac;
	__u16 to[ETH_ALEN / 2];

	if (bpf_skb_load_bytes(skb, 0, to, sizeof(to)))
		return false;
	return !((to[0] ^ own[0]) | (to[1] ^ own[1]) | (to[2] ^ own[2]));
}

/* 1 when the frame is not addressed to the bridge, and the packet is to an address that has a row. The four words are
 * that address as in tables, so IPv4 is IPv4-mapped. */
__noinline int slb_bridged(struct __sk_buff *skb, __be32 a, __be32 b, __be32 c, __be32 d)
{
	const struct slb_device *device = device_get(skb->ifindex), *bridge;
	const __be32 addr[4] = {a, b, c, d};

	if (!device)
		return 0;
	bridge = device_get(device->bridge);
	return (!bridge || !bridge_own(skb, bridge)) && lookup_address(addr, SLB_IP6);
}

/* Whether the frame may be this host's, by skb->pkt_type: not broadcast and multicast, nor what a flooding switch or
 * promiscuous mode lets us see. Frames received by a bridge port are decided by bridge_forwards(). At ingress. */
static __always_inline __must_check bool bridge_accepts(const struct pkt *pkt)
{
	struct __sk_buff *skb = pkt->ctx;

	asm volatile("" : "+r"(skb)); /* as in pkt_load() */
	if (skb->pkt_type == PACKET_HOST)
		return true;
	return skb->pkt_type == PACKET_OTHERHOST && slb_bridge_port(skb);
}

/* Whether the packet is to an address that has a row, but the bridge forwards it past this host. A packet to another
 * address goes on through the pipeline: it may be of a direct connection from a pod to a backend. */
static __always_inline bool bridge_forwards(const struct pkt *pkt)
{
	struct __sk_buff *skb = pkt->ctx;
	__be32 addr[4];

	asm volatile("" : "+r"(skb)); /* as in pkt_load() */
	if (skb->pkt_type == PACKET_HOST)
		return false;
	if (pkt->family == SLB_IP4)
		addr_map(addr, pkt->tuple->daddr, SLB_IP4);
	else
		addr_map(addr, pkt->tuple->daddr, SLB_IP6);
	return slb_bridged(skb, addr[0], addr[1], addr[2], addr[3]);
}
