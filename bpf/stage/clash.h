/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Clash resolution between a frontend at an address of this node and connections to no service that use the same port:
 * of this host's own sockets, and of pods that netfilter masquerades. The kernel assigns ports without asking us.
 * Whichever connection has the tuple first keeps it: one that leaves from a frontend's port gets a flow that changes
 * nothing, so that its replies are known; an older one is found by its socket, or in conntrack. */
#pragma once
#include "../lib/socktuple.h"
#include "client.h"
#include "conntrack.h"
#include "lookup.h"
#include "snat.h"
#include "track.h"

/* Whether a packet at egress opens a connection from a frontend's port. Its source is final here, also if netfilter has
 * masqueraded it. */
static __always_inline bool clash_opens(const struct pkt *pkt, const enum slb_family family)
{
	__u8 address;

	if (pkt_later_fragment(pkt) || (pkt->conn_oriented && !tcp_opens(pkt)))
		return false;
	address = lookup_address(pkt->tuple->saddr, family);
	return address & SLB_ADDR_NODE && lookup_source(pkt, address, family);
}

/* True for any socket but a listening one; one in TIME_WAIT still receives late segments. */
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

/* Only a connected socket: of another one it is not known where it has sent to. */
static __always_inline bool clash_udp(const struct pkt *pkt, struct bpf_sock_tuple *tuple, __u32 size)
{
	struct bpf_sock *sk = bpf_sk_lookup_udp(pkt->ctx, tuple, size, BPF_F_CURRENT_NETNS, 0);
	bool exact;

	if (!sk)
		return false;
	exact = (__be16)sk->dst_port == pkt->tuple->sport; /* 0: unconnected; the look-up has compared the rest */
	bpf_sk_release(sk);
	return exact;
}

/* Whether a packet without a flow is a reply to a socket of this host. */
static __always_inline bool clash_socket(const struct pkt *pkt, const enum slb_family family)
{
	struct bpf_sock_tuple tuple = {};
	__u32 size;

	if (pkt->tuple->proto == IPPROTO_SCTP || (pkt->conn_oriented && tcp_opens(pkt)))
		return false;
	size = sock_tuple_of(&tuple, pkt->tuple, family);
	return pkt->conn_oriented ? clash_tcp(pkt, &tuple, size) : clash_udp(pkt, &tuple, size);
}

/* For a frontend at an address of this node: CONTINUE when the packet is for the service. */
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

/* Direct connections of a client of this node to a backend: its socket has dialled the backend, or was pointed at it.
 * If the client also reaches that backend through a service from the same port, replies are ambiguous. */

/* Received from a pod: no other hook has translated it. */
static __always_inline bool clash_from_pod(const struct pkt *pkt, const enum slb_hook hook)
{
	const struct slb_device *device = device_get(client_ifindex(pkt, hook));

	return device && device->role == SLB_DEV_POD && device->netns != SLB_NETNS_NONE;
}

/* Sent by a socket of this host to its own peer. A packet that another hook has translated belongs to a socket whose
 * peer is the service. */
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

/* Whether the packet, to no service, opens such a connection. Later packets are not looked at, because that would cost
 * each of them a look-up, and their connection had its port first. */
static __always_inline bool clash_direct(const struct pkt *pkt, const enum slb_hook hook, const enum slb_family family)
{
	if (!hook_has_skb(hook) || pkt->fragment || (pkt->conn_oriented && !tcp_opens(pkt)))
		return false;
	return hook_is_egress(hook) ? clash_from_socket(pkt, family) : clash_from_pod(pkt, hook);
}
