/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Ports that a frontend at an address of this node shares with connections that are for no service: of this host's own
 * sockets, and of pods that netfilter masquerades. The kernel gives both ports without asking us. The connection that
 * has the tuple first keeps it: one that leaves from such a port gets a flow that changes nothing, so that its replies
 * are known; what was there before the frontend, or before us, is found by its socket. */
#pragma once
#include "../lib/socktuple.h"
#include "client.h"
#include "conntrack.h"
#include "lookup.h"
#include "snat.h"
#include "track.h"

/* Whether what leaves begins a connection from a frontend's port. A masqueraded packet has got its source by now. */
static __always_inline bool clash_opens(const struct pkt *pkt, const enum slb_family family)
{
	__u8 address;

	if (pkt_later_fragment(pkt) || (pkt->conn_oriented && !tcp_opens(pkt)))
		return false;
	address = lookup_address(pkt->tuple->saddr, family);
	return address & SLB_ADDR_NODE && lookup_source(pkt, address, family);
}

/* Also one that is closing or has closed: what comes late is its own. */
static __always_inline bool clash_tcp(const struct pkt *pkt, struct bpf_sock_tuple *tuple, __u32 size)
{
	struct bpf_sock *sk = bpf_skc_lookup_tcp(pkt->ctx, tuple, size, BPF_F_CURRENT_NETNS, 0);
	bool exact;

	if (!sk)
		return false;
	exact = sk->state != BPF_TCP_LISTEN;
	bpf_sk_release(sk);
	return exact;
}

/* Of an unconnected socket the kernel cannot tell where it has sent to. */
static __always_inline bool clash_udp(const struct pkt *pkt, struct bpf_sock_tuple *tuple, __u32 size)
{
	struct bpf_sock *sk = bpf_sk_lookup_udp(pkt->ctx, tuple, size, BPF_F_CURRENT_NETNS, 0);
	bool exact;

	if (!sk)
		return false;
	exact = (__be16)sk->dst_port == pkt->tuple->sport; /* the kernel has compared the rest: 0 without a peer */
	bpf_sk_release(sk);
	return exact;
}

/* Whether a packet without a flow is an answer to a socket of this host. What opens a connection is no answer. */
static __always_inline bool clash_socket(const struct pkt *pkt, const enum slb_family family)
{
	struct bpf_sock_tuple tuple = {};
	__u32 size;

	if (pkt->tuple->proto == IPPROTO_SCTP || (pkt->conn_oriented && tcp_opens(pkt)))
		return false;
	size = sock_tuple_of(&tuple, pkt->tuple, family);
	return pkt->conn_oriented ? clash_tcp(pkt, &tuple, size) : clash_udp(pkt, &tuple, size);
}

/* For a frontend at an address of this node: CONTINUE when the packet is a service's. */
static __always_inline __must_check enum slb_verdict clash(const struct pkt *pkt, const enum slb_hook hook,
							   const enum slb_family family)
{
	if (clash_socket(pkt, family))
		return SLB_HOST_SOCKET;
	if (pkt->conn_oriented && !tcp_may_be_request(pkt))
		return SLB_NO_FLOW;
	if (pkt->conn_oriented && tcp_opens(pkt))
		return SLB_CONTINUE;
	return conntrack_is_reply(pkt, hook, family) ? SLB_HOST_CONNTRACK : SLB_CONTINUE;
}

/* Direct talk of a client of this node with a backend: from a socket that dialled it, or was pointed at it. When the
 * same client also reaches that backend by a service, from the same port, answers could be either's. */

/* Straight from a pod: nothing has translated it yet. */
static __always_inline bool clash_from_pod(const struct pkt *pkt, const enum slb_hook hook)
{
	const struct slb_device *device = device_get(client_ifindex(pkt, hook));

	return device && device->role == SLB_DEV_POD && device->netns != SLB_NETNS_NONE;
}

/* From a socket of this host whose peer is the one that the packet names. What was translated at an earlier hook still
 * has the socket that asked for the service. */
static __always_inline bool clash_from_socket(const struct pkt *pkt, const enum slb_family family)
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
static __always_inline bool clash_direct(const struct pkt *pkt, const enum slb_hook hook, const enum slb_family family)
{
	if (!hook_has_skb(hook) || pkt->fragment || (pkt->conn_oriented && !tcp_opens(pkt)))
		return false;
	return hook_is_egress(hook) ? clash_from_socket(pkt, family) : clash_from_pod(pkt, hook);
}
