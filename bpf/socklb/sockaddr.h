/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The address argument of a system call. `six` is a constant: the hook is one of struct sockaddr_in6, which can also
 * hold an IPv4-mapped address. */
#pragma once
#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

struct peer {
	__be32 addr[4]; /* IPv4-mapped for IPv4 */
	__be16 port;
};

static __always_inline void sockaddr_read(struct peer *peer, const struct bpf_sock_addr *ctx, const bool six)
{
	if (six) {
		peer->addr[0] = ctx->user_ip6[0];
		peer->addr[1] = ctx->user_ip6[1];
		peer->addr[2] = ctx->user_ip6[2];
		peer->addr[3] = ctx->user_ip6[3];
	} else {
		peer->addr[0] = peer->addr[1] = 0;
		peer->addr[2] = bpf_htonl(0xffff);
		peer->addr[3] = ctx->user_ip4;
	}
	peer->port = ctx->user_port;
}

static __always_inline void sockaddr_write(struct bpf_sock_addr *ctx, const struct peer *peer, const bool six)
{
	if (six) {
		ctx->user_ip6[0] = peer->addr[0];
		ctx->user_ip6[1] = peer->addr[1];
		ctx->user_ip6[2] = peer->addr[2];
		ctx->user_ip6[3] = peer->addr[3];
	} else {
		ctx->user_ip4 = peer->addr[3];
	}
	ctx->user_port = peer->port;
}

static __always_inline bool peer_mapped(const struct peer *peer)
{
	return !(peer->addr[0] | peer->addr[1]) && peer->addr[2] == bpf_htonl(0xffff);
}

static __always_inline bool peer_is(const struct peer *peer, const __be32 *addr, __be16 port)
{
	return peer->port == port && peer->addr[3] == addr[3] && peer->addr[2] == addr[2] && peer->addr[1] == addr[1] &&
	       peer->addr[0] == addr[0];
}
