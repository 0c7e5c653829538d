/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Load balancing at the socket: connect() and sendto() of a service address get a backend's address, and packets of the
 * socket need no translation. What needs a packet to decide is left to the packet path (LEFT_TO_PACKETS). */
#pragma once
#include <linux/errno.h>
#include <linux/in.h>
#include "../lib/addr.h"
#include "../lib/clock.h"
#include "../stage/lookup.h"
#include "../stage/policy.h"
#include "../stage/select.h"
#include "kernsock.h"
#include "socket.h"

/* The local address of a socket: not chosen yet, bound, or bound to loopback. */
enum origin { ORIGIN_UNBOUND, ORIGIN_BOUND, ORIGIN_LOOPBACK };

/* Fields of PTR_TO_SOCKET cannot be read through a pointer to an array: the verifier wants constant offsets. */
static __always_inline enum origin translate_origin(struct slb_flow_key6 *tuple, const struct bpf_sock *sk,
						    const enum slb_family family)
{
	__be32 addr[4] = {};

	if (family == SLB_IP4) {
		addr[0] = sk->src_ip4;
	} else {
		addr[0] = sk->src_ip6[0];
		addr[1] = sk->src_ip6[1];
		addr[2] = sk->src_ip6[2];
		addr[3] = sk->src_ip6[3];
	}
	if (!(addr[0] | addr[1] | addr[2] | addr[3]))
		return ORIGIN_UNBOUND;
	addr_copy(tuple->saddr, addr);
	return addr_loopback(addr, family) ? ORIGIN_LOOPBACK : ORIGIN_BOUND;
}

/* Whether the cgroup of the process, or one above it, is in slb_exempt. */
static __always_inline bool translate_exempt(void)
{
	for (__u32 level = 1; level <= SLB_CGROUP_DEPTH; level++) {
		__u64 cgroup = bpf_get_current_ancestor_cgroup_id(level);

		if (!cgroup)
			return false;
		if (exempt_get(&cgroup))
			return true;
	}
	return false;
}

/* Affinity and source ranges need the client's address, which the kernel chooses only after connect(), by the route to
 * the backend. SNAT is needed where masqueradeAll asks for it at a ClusterIP; at other frontends it would only bring
 * replies back through this node, which those of a socket do anyway. */
static __always_inline bool translate_needs_packets(const struct target *target, const struct policy *policy,
						    enum origin origin)
{
	const struct slb_service *service = target->service;

	if (service->flags & SLB_SVC_NO_SOCKET_LB || (service->affinity_sec && origin == ORIGIN_UNBOUND))
		return true;
	if (target->kind == SLB_KIND_CLUSTER_IP)
		return policy->masquerade;
	return service->flags & (SLB_SVC_ALLOW | SLB_SVC_DENY);
}

/* The tuple of the packet to come, for the hash. The socket cookie stands for a source that is not chosen yet, and
 * spreads connections as ports do. Returns what the local address is. */
static __always_inline enum origin translate_tuple(struct pkt *pkt, const struct peer *peer, __u64 cookie,
						   const enum slb_family family)
{
	const struct bpf_sock_addr *ctx = pkt->ctx;
	struct slb_flow_key6 *tuple = pkt->tuple;
	enum origin origin = translate_origin(tuple, ctx->sk, family);

	if (origin == ORIGIN_UNBOUND) {
		tuple->saddr[0] = (__u32)cookie;
		if (family == SLB_IP6)
			tuple->saddr[1] = cookie >> 32;
	}
	addr_unmap(tuple->daddr, peer->addr, family);
	tuple->sport = (__u16)cookie;
	tuple->dport = peer->port;
	tuple->proto = ctx->protocol;
	return origin;
}

/* As for a packet that this host sends, except that a loopback address in a pod is the pod itself. */
static __always_inline __must_check enum slb_verdict translate_lookup(const struct pkt *pkt, struct target *target,
								      const enum slb_family family)
{
	if (addr_loopback(pkt->tuple->daddr, family) && client_of(pkt, SLB_HOOK_SOCK, family) != CLIENT_HOST)
		return SLB_NOT_OURS;
	return lookup(pkt, target, SLB_HOOK_TC_OUT, family);
}

/* CONTINUE with a backend, or REFUSED_* for translate_refuse(). What the packet path would drop is left to it:
 * connect() must time out then, and no errno does that. */
static __always_inline __must_check enum slb_verdict translate_choose(struct pkt *pkt, const struct peer *peer,
								      __u64 cookie, const struct slb_backend **backend,
								      const enum slb_family family)
{
	const struct bpf_sock_addr *ctx = pkt->ctx;
	enum origin origin = translate_tuple(pkt, peer, cookie, family);
	struct target target = {};
	enum slb_verdict verdict = translate_lookup(pkt, &target, family);
	struct policy policy;

	if (verdict == SLB_DROP_STALE)
		return SLB_LEFT_TO_PACKETS;
	if (verdict != SLB_CONTINUE && verdict != SLB_REFUSED_PORT)
		return verdict;
	if (origin == ORIGIN_LOOPBACK || ctx->sk->bound_dev_if || kernsock(ctx) || translate_exempt())
		return SLB_LEFT_TO_PACKETS;
	if (verdict == SLB_REFUSED_PORT)
		return verdict;
	policy = policy_of(&target, client_of(pkt, SLB_HOOK_SOCK, family));
	if (translate_needs_packets(&target, &policy, origin))
		return SLB_LEFT_TO_PACKETS;
	pkt->service = target.service->id;
	verdict = select_backend(pkt, target.service, policy.list, clock_now(), backend, family);
	return verdict == SLB_CONTINUE || verdict == SLB_REFUSED_UNREACHABLE ? verdict : SLB_LEFT_TO_PACKETS;
}

/* Stores the row, and replaces `peer` by the backend: SOCKET_NEW, or LEFT_TO_PACKETS when that cannot be. */
static __always_inline __must_check enum slb_verdict translate_at(const struct pkt *pkt, struct peer *peer,
								  const struct slb_socket_key *key,
								  const struct slb_backend *backend, __u8 flags)
{
	struct slb_socket socket = {
		.frontend_port = peer->port,
		.backend_port = backend->port,
		.proto = backend->proto,
		.flags = flags,
		.service = backend->service,
		.backend = backend->id,
		.created = clock_now(),
		.netns = bpf_get_netns_cookie(pkt->ctx),
	};

	socket.seen = socket.created;
	addr_copy(socket.frontend, peer->addr);
	addr_copy(socket.backend_addr, backend->addr);
	if (!(flags & SLB_SOCKET_CONNECTED) && socket_ambiguous(key->cookie, &socket))
		return SLB_LEFT_TO_PACKETS;
	if (!socket_store(key, &socket))
		return SLB_LEFT_TO_PACKETS;
	addr_copy(peer->addr, backend->addr);
	peer->port = backend->port;
	return SLB_SOCKET_NEW;
}

/* A rejected TCP connect() fails with ECONNREFUSED. UDP is left to the packet path, which answers with an ICMP error:
 * getaddrinfo() connects UDP sockets to arbitrary ports only to learn their source address, and must not fail. */
static __always_inline __must_check enum slb_verdict translate_refuse(const struct pkt *pkt, enum slb_verdict verdict)
{
	if (verdict != SLB_REFUSED_UNREACHABLE && verdict != SLB_REFUSED_PORT)
		return verdict;
	if (!slb_config.socket_refuse || pkt->tuple->proto != IPPROTO_TCP)
		return SLB_LEFT_TO_PACKETS;
	bpf_set_retval(-ECONNREFUSED);
	return SLB_REFUSED_SOCKET;
}

/* connect(): SOCKET_NEW with the backend in `peer`. The socket receives from this peer alone from now on. */
static __always_inline __must_check enum slb_verdict translate_connect(struct pkt *pkt, struct peer *peer,
								       const enum slb_family family)
{
	struct slb_socket_key key = {.cookie = bpf_get_socket_cookie(pkt->ctx)};
	const struct slb_backend *backend = NULL;
	enum slb_verdict verdict;

	socket_forget(key.cookie);
	verdict = translate_choose(pkt, peer, key.cookie, &backend, family);
	if (verdict != SLB_CONTINUE || !backend)
		return translate_refuse(pkt, verdict);
	return translate_at(pkt, peer, &key, backend, SLB_SOCKET_CONNECTED);
}

/* Whether datagrams still go to the backend of this row, as in the packet path: until it is gone and there are others
 * (S-90), or the row has been idle for as long as a UDP flow may be. */
static __always_inline bool translate_keeps(const struct slb_socket *socket, __u32 now)
{
	if (!backend_get(socket->backend))
		return service_is_empty(socket->service);
	return !clock_passed(socket->seen, now, slb_config.udp_idle_sec);
}

/* At most once a second. */
static __always_inline void translate_refresh(const struct pkt *pkt, struct slb_socket *socket, __u32 now,
					      const enum slb_family family)
{
	const struct bpf_sock_addr *ctx = pkt->ctx;
	struct slb_flow_key6 own = {};
	__be32 addr[4] = {};

	if (!clock_passed(socket->seen, now, 1))
		return;
	socket->seen = now;
	if (translate_origin(&own, ctx->sk, family) != ORIGIN_UNBOUND)
		addr_map(addr, own.saddr, family);
	socket_set_client(socket, addr, bpf_htons(ctx->sk->src_port));
}

/* IP_PKTINFO may give one datagram a source of its own. */
static __always_inline bool translate_from_loopback(const struct bpf_sock_addr *ctx, const enum slb_family family)
{
	__be32 addr[4] = {};

	if (family == SLB_IP4) {
		addr[0] = ctx->msg_src_ip4;
	} else {
		addr[0] = ctx->msg_src_ip6[0];
		addr[1] = ctx->msg_src_ip6[1];
		addr[2] = ctx->msg_src_ip6[2];
		addr[3] = ctx->msg_src_ip6[3];
	}
	return addr_loopback(addr, family);
}

static __always_inline enum slb_verdict translate_known(const struct slb_socket *socket, struct peer *peer)
{
	addr_copy(peer->addr, socket->backend_addr);
	peer->port = socket->backend_port;
	return SLB_SOCKET_KNOWN;
}

/* sendmsg() on a connected socket. The kernel also calls the hook for an IPv6 socket that is connected to an
 * IPv4-mapped address and sends without an address; it then passes the peer, which is the service where that was left
 * to packets. */
static __always_inline __must_check enum slb_verdict
translate_connected(const struct slb_socket *socket, struct peer *peer, const enum slb_family family)
{
	__be32 addr[4];

	if (socket && socket->backend_port && socket->flags & SLB_SOCKET_CONNECTED)
		return translate_known(socket, peer);
	addr_unmap(addr, peer->addr, family);
	return lookup_address(addr, family) ? SLB_LEFT_TO_PACKETS : SLB_NOT_OURS;
}

/* sendto() and sendmsg() with an address: SOCKET_NEW or SOCKET_KNOWN with the backend in `peer`. */
static __always_inline __must_check enum slb_verdict translate_datagram(struct pkt *pkt, struct peer *peer,
									const enum slb_family family)
{
	const struct bpf_sock_addr *ctx = pkt->ctx;
	struct slb_socket_key key = {.cookie = bpf_get_socket_cookie(pkt->ctx)};
	struct slb_socket *socket = socket_find(&key, peer, SIDE_FRONTEND);
	const struct slb_backend *backend = NULL;
	__u32 now = clock_now();
	enum slb_verdict verdict;

	if (ctx->sk->dst_port)
		return translate_connected(socket, peer, family);
	if (socket && socket->backend_port && socket->flags & SLB_SOCKET_RETIRED)
		return SLB_LEFT_TO_PACKETS;
	if (socket && socket->backend_port && translate_keeps(socket, now)) {
		if (translate_from_loopback(pkt->ctx, family))
			return SLB_LEFT_TO_PACKETS;
		translate_refresh(pkt, socket, now, family);
		return translate_known(socket, peer);
	}
	verdict = translate_choose(pkt, peer, key.cookie, &backend, family);
	if (verdict != SLB_CONTINUE)
		return translate_refuse(pkt, verdict);
	if (!backend || key.index >= SLB_SOCKET_PEERS || translate_from_loopback(pkt->ctx, family))
		return SLB_LEFT_TO_PACKETS;
	return translate_at(pkt, peer, &key, backend, 0);
}

/* `connects` is a constant: connect(), else sendmsg(). Returns a verdict; those of class SEND have set `peer`. */
static __always_inline __must_check enum slb_verdict translate(struct pkt *pkt, struct peer *peer, const bool connects,
							       const enum slb_family family)
{
	return connects ? translate_connect(pkt, peer, family) : translate_datagram(pkt, peer, family);
}
