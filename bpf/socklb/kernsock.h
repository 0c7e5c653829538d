/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Fields of the kernel's own socket structs, by CO-RE: libbpf relocates their offsets for the running kernel. */
#pragma once
#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

struct sock_common {
	unsigned long skc_flags;
} __attribute__((preserve_access_index));

struct sock {
	struct sock_common __sk_common;
	__u8 sk_kern_sock : 1;
} __attribute__((preserve_access_index));

struct bpf_sock_addr_kern {
	struct sock *sk;
} __attribute__((preserve_access_index));

struct tcp_sock {
	__u64 bytes_sent;
	__u64 bytes_retrans;
	__u64 bytes_received;
} __attribute__((preserve_access_index));

/* Bits of skc_flags. */
enum sock_flags {
	SOCK_DONE = 1, /* FIN received */
};

/* Whether the socket belongs to the kernel itself, as of an NFS mount. Kernels before 6.7 write the translated address
 * into the caller's copy, and the caller then reconnects to a backend that may be gone. */
static __always_inline bool kernsock(const struct bpf_sock_addr *ctx)
{
	const struct sock *sk = BPF_CORE_READ((const struct bpf_sock_addr_kern *)ctx, sk);

	return BPF_CORE_READ_BITFIELD_PROBED(sk, sk_kern_sock);
}

/* Payload bytes that a TCP socket has sent, without retransmissions, and received. bytes_received counts a FIN as one
 * byte. */
static __always_inline void kernsock_bytes(const struct bpf_sock *ctx, __u64 *sent, __u64 *received)
{
	const struct tcp_sock *tcp = (const void *)ctx;
	const struct sock *sk = (const void *)ctx;
	unsigned long flags = 0;
	__u64 again = 0;

	bpf_core_read(sent, sizeof(*sent), &tcp->bytes_sent);
	bpf_core_read(&again, sizeof(again), &tcp->bytes_retrans);
	bpf_core_read(received, sizeof(*received), &tcp->bytes_received);
	bpf_core_read(&flags, sizeof(flags), &sk->__sk_common.skc_flags);
	*sent -= again < *sent ? again : *sent;
	if (*received && flags & 1UL << SOCK_DONE)
		--*received;
}
