/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What only the kernel's own structs tell of a socket. Their layouts differ from kernel to kernel: the loader puts in
 * the offsets of the one that runs. */
#pragma once
#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

struct sock {
	__u8 sk_kern_sock : 1;
} __attribute__((preserve_access_index));

struct bpf_sock_addr_kern {
	struct sock *sk;
} __attribute__((preserve_access_index));

struct tcp_sock {
	__u64 bytes_acked;
	__u64 bytes_received;
} __attribute__((preserve_access_index));

/* Of the kernel itself: an NFS mount, say. Kernels before 6.7 write what we point such a socket at over the address
 * that its owner keeps, and its owner reconnects to a backend that may be gone. */
static __always_inline bool kernsock(const struct bpf_sock_addr *ctx)
{
	const struct sock *sk = BPF_CORE_READ((const struct bpf_sock_addr_kern *)ctx, sk);

	return BPF_CORE_READ_BITFIELD_PROBED(sk, sk_kern_sock);
}

/* Payload that a TCP socket has sent, as far as it was acknowledged, and received. The kernel counts sequence numbers,
 * SYN and FIN included; a FIN that was acknowledged as well is not worth telling from a reset. */
static __always_inline void kernsock_bytes(const struct bpf_sock *ctx, __u64 *sent, __u64 *received)
{
	const struct tcp_sock *tcp = (const void *)ctx;

	bpf_core_read(sent, sizeof(*sent), &tcp->bytes_acked);
	bpf_core_read(received, sizeof(*received), &tcp->bytes_received);
	if (*sent)
		--*sent;
	if (*received && ctx->state == BPF_TCP_CLOSE_WAIT)
		--*received;
}
