/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Rows of a socket, found by the frontend that its program dialled or by the backend. No two CPUs change the rows of
 * one socket at once: the caller holds its lock, or it is being freed. Loops over rows are unrolled, because
 * kernel 5.10 takes them for infinite ones. */
#pragma once
#include <linux/in.h>
#include "../maps/backends.h"
#include "../maps/services.h"
#include "../maps/sockets.h"
#include "../maps/stats.h"
#include "../lib/addr.h"
#include "../lib/clock.h"
#include "../lib/pkt.h"
#include "kernsock.h"
#include "sockaddr.h"

/* By which address to find a row. */
enum side { SIDE_FRONTEND, SIDE_BACKEND };

static __always_inline bool socket_matches(const struct slb_socket *socket, const struct peer *peer,
					   const enum side side)
{
	if (side == SIDE_FRONTEND)
		return peer_is(peer, socket->frontend, socket->frontend_port);
	return peer_is(peer, socket->backend_addr, socket->backend_port);
}

/* The row with this address, or NULL: then key->index is the first free one, SLB_SOCKET_PEERS when there is none. */
static __always_inline struct slb_socket *socket_find(struct slb_socket_key *key, const struct peer *peer,
						      const enum side side)
{
	struct slb_socket *socket;

#pragma unroll
	for (__u32 i = 0; i < SLB_SOCKET_PEERS; i++) {
		key->index = i;
		socket = socket_get(key);
		if (!socket || socket_matches(socket, peer, side))
			return socket;
	}
	key->index = SLB_SOCKET_PEERS;
	return NULL;
}

static __always_inline void socket_count_opened(struct slb_stats *stats)
{
	if (!stats)
		return;
	atomic_add(&stats->connections, 1);
	atomic_add(&stats->sockets, 1);
}

static __always_inline void socket_count_closed(struct slb_stats *stats, __u64 sent, __u64 received)
{
	if (!stats)
		return;
	atomic_add(&stats->sockets, -1);
	atomic_add(&stats->bytes_in, sent);
	atomic_add(&stats->bytes_out, received);
}

/* Counts for the service and the backend that still have their slots: a slot that was given away counts for another. */
static __always_inline void socket_closed(const struct slb_socket *socket, __u64 sent, __u64 received)
{
	if (socket->flags & SLB_SOCKET_RETIRED)
		return;
	if (service_get(socket->service))
		socket_count_closed(service_stats(socket->service), sent, received);
	if (backend_get(socket->backend))
		socket_count_closed(backend_stats(socket->backend), sent, received);
}

/* Stops using a row. It is deleted with its socket: the rows behind it are found by walking over it. */
static __always_inline void socket_retire(struct slb_socket *socket)
{
	socket_closed(socket, 0, 0);
	socket->flags |= SLB_SOCKET_RETIRED;
}

/* Retires all rows of a socket that connects anew: it hears none of their backends any more. */
static __always_inline void socket_forget(__u64 cookie)
{
	struct slb_socket_key key = {.cookie = cookie};
	struct slb_socket *socket;

#pragma unroll
	for (__u32 i = 0; i < SLB_SOCKET_PEERS; i++) {
		key.index = i;
		socket = socket_get(&key);
		if (!socket)
			return;
		socket_retire(socket);
		socket->backend_port = 0;
	}
}

/* Deletes the rows of a socket that is being freed. */
static __always_inline void socket_release(const struct bpf_sock *ctx, __u64 cookie)
{
	struct slb_socket_key key = {.cookie = cookie};
	__u64 sent = 0, received = 0;
	struct slb_socket *socket;

#pragma unroll
	for (__u32 i = 0; i < SLB_SOCKET_PEERS; i++) {
		key.index = i;
		socket = socket_get(&key);
		if (!socket)
			return;
		if (socket->proto == IPPROTO_TCP)
			kernsock_bytes(ctx, &sent, &received);
		socket_closed(socket, sent, received);
		socket_delete(&key);
	}
}

/* False when the map is full. */
static __always_inline __must_check bool socket_store(const struct slb_socket_key *key, const struct slb_socket *socket)
{
	struct slb_socket *before = socket_get(key);

	if (before)
		socket_retire(before);
	if (socket_put(key, socket))
		return false;
	socket_count_opened(service_stats(socket->service));
	socket_count_opened(backend_stats(socket->backend));
	return true;
}

/* Whether another service of this socket has the same backend: recvmsg() could not tell whose reply it is. Both are
 * then left to the packet path, which gives each its own source port. */
static __always_inline __must_check bool socket_ambiguous(__u64 cookie, const struct slb_socket *wanted)
{
	const struct peer backend = {
		.addr = {wanted->backend_addr[0], wanted->backend_addr[1], wanted->backend_addr[2],
			 wanted->backend_addr[3]},
		.port = wanted->backend_port,
	};
	struct slb_socket_key key = {.cookie = cookie};
	struct slb_socket *other = socket_find(&key, &backend, SIDE_BACKEND);
	const struct peer frontend = {
		.addr = {wanted->frontend[0], wanted->frontend[1], wanted->frontend[2], wanted->frontend[3]},
		.port = wanted->frontend_port,
	};

	if (!other || peer_is(&frontend, other->frontend, other->frontend_port))
		return false;
	socket_retire(other);
	return true;
}

/* Notes the local address, which the kernel has chosen meanwhile. `addr` is IPv4-mapped for IPv4. */
static __always_inline void socket_set_client(struct slb_socket *socket, const __be32 *addr, __be16 port)
{
	addr_copy(socket->client, addr);
	socket->client_port = port;
}
