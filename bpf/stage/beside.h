/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Direct talk of a client of this node with a backend: from a socket that dialled it, or was pointed at it. When the
 * same client also reaches that backend by a service, from the same port, answers could be either's. */
#pragma once
#include "client.h"
#include "track.h"

/* Straight from a pod: nothing has translated it yet. */
static __always_inline bool beside_from_pod(const struct pkt *pkt, const enum slb_hook hook)
{
	const struct slb_device *device = device_get(client_ifindex(pkt, hook));

	return device && device->role == SLB_DEV_POD && device->netns != SLB_NETNS_NONE;
}

/* From a socket of this host whose peer is the one that the packet names. What was translated at an earlier hook still has the
 * socket that asked for the service. */
static __always_inline bool beside_from_socket(const struct pkt *pkt, const enum slb_family family)
{
	const struct slb_flow_key6 *tuple = pkt->tuple;
	struct bpf_sock *sk = ((struct __sk_buff *)pkt->ctx)->sk;

	sk = sk ? bpf_sk_fullsock(sk) : NULL;
	if (!sk || (__be16)sk->dst_port != tuple->dport)
		return false;
	if (family == SLB_IP4)
		return sk->dst_ip4 == tuple->daddr[0];
	return sk->dst_ip6[0] == tuple->daddr[0] && sk->dst_ip6[1] == tuple->daddr[1] &&
	       sk->dst_ip6[2] == tuple->daddr[2] && sk->dst_ip6[3] == tuple->daddr[3];
}

/* Whether the packet, which is for no service, begins something of this kind. What is under way is not looked at: it
 * costs every packet, and had its port before. */
static __always_inline bool beside_opens(const struct pkt *pkt, const enum slb_hook hook, const enum slb_family family)
{
	if (hook == SLB_HOOK_XDP || pkt->fragment || (pkt->connected && !tcp_opens(pkt)))
		return false;
	return hook == SLB_HOOK_TC_OUT ? beside_from_socket(pkt, family) : beside_from_pod(pkt, hook);
}
