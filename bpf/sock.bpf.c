// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/* The hooks of system calls, at a cgroup: processes that ask for a service are given a backend, and told that they have
 * reached the service. */
#include "lib/count.h"
#include "socklb/translate.h"

enum { SYSCALL_FAILS = 0, SYSCALL_GOES_ON = 1 };

/* The C library's header of these does not compile for BPF. */
enum { SOCK_STREAM = 1, SOCK_DGRAM = 2, AF_INET6 = 10 };

static __always_inline bool wanted(const struct bpf_sock_addr *ctx)
{
	return (ctx->type == SOCK_STREAM && ctx->protocol == IPPROTO_TCP) ||
	       (ctx->type == SOCK_DGRAM && ctx->protocol == IPPROTO_UDP);
}

/* connect() of an IPv6 socket to an IPv4-mapped address comes to the hook of struct sockaddr_in6, its sendto() to that
 * of struct sockaddr_in. */
static __always_inline int on_request(struct bpf_sock_addr *ctx, const bool connects, const bool six)
{
	struct slb_flow_key6 tuple = {};
	struct pkt pkt = {.ctx = ctx, .tuple = &tuple};
	enum slb_verdict verdict;
	struct peer peer;

	sockaddr_read(&peer, ctx, six);
	if (!wanted(ctx))
		verdict = SLB_OTHER_PROTOCOL;
	else if (!six || (connects && peer_mapped(&peer)))
		verdict = translate(&pkt, &peer, connects, SLB_IP4);
	else
		verdict = translate(&pkt, &peer, connects, SLB_IP6);
	count(&pkt, SLB_HOOK_SOCK, verdict);
	if (verdict_class(verdict) == CLASS_SEND)
		sockaddr_write(ctx, &peer, six);
	return verdict == SLB_REFUSED_SOCKET ? SYSCALL_FAILS : SYSCALL_GOES_ON;
}

/* recvmsg() and getpeername(): what is a backend's address was a service's when the program named it. */
static __always_inline int on_answer(struct bpf_sock_addr *ctx, const bool six)
{
	struct slb_socket_key key = {.cookie = bpf_get_socket_cookie(ctx)};
	struct slb_socket *socket;
	struct peer peer;

	sockaddr_read(&peer, ctx, six);
	socket = socket_find(&key, &peer, SIDE_BACKEND);
	if (socket) {
		addr_copy(peer.addr, socket->frontend);
		peer.port = socket->frontend_port;
		sockaddr_write(ctx, &peer, six);
	}
	return SYSCALL_GOES_ON;
}

SEC("cgroup/connect4")
int slb_connect4(struct bpf_sock_addr *ctx)
{
	return on_request(ctx, true, false);
}

SEC("cgroup/connect6")
int slb_connect6(struct bpf_sock_addr *ctx)
{
	return on_request(ctx, true, true);
}

SEC("cgroup/sendmsg4")
int slb_sendmsg4(struct bpf_sock_addr *ctx)
{
	return on_request(ctx, false, false);
}

SEC("cgroup/sendmsg6")
int slb_sendmsg6(struct bpf_sock_addr *ctx)
{
	return on_request(ctx, false, true);
}

SEC("cgroup/recvmsg4")
int slb_recvmsg4(struct bpf_sock_addr *ctx)
{
	return on_answer(ctx, false);
}

SEC("cgroup/recvmsg6")
int slb_recvmsg6(struct bpf_sock_addr *ctx)
{
	return on_answer(ctx, true);
}

SEC("cgroup/getpeername4")
int slb_getpeer4(struct bpf_sock_addr *ctx)
{
	return on_answer(ctx, false);
}

SEC("cgroup/getpeername6")
int slb_getpeer6(struct bpf_sock_addr *ctx)
{
	return on_answer(ctx, true);
}

/* The last descriptor of a socket is closed. */
SEC("cgroup/sock_release")
int slb_sock_close(struct bpf_sock *ctx)
{
	socket_release(ctx, bpf_get_socket_cookie(ctx));
	return SYSCALL_GOES_ON;
}

/* The handshake of a TCP socket: by now the kernel has chosen its address. `reply` belongs to the program that asked
 * for it. */
SEC("sockops")
int slb_sock_ops(struct bpf_sock_ops *ctx)
{
	struct slb_socket_key key = {};
	struct slb_socket *socket;
	__be32 addr[4] = {0, 0, bpf_htonl(0xffff), 0};

	if (ctx->op != BPF_SOCK_OPS_TCP_CONNECT_CB && ctx->op != BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB)
		return SYSCALL_GOES_ON;
	key.cookie = bpf_get_socket_cookie(ctx);
	socket = socket_get(&key);
	if (!socket)
		return SYSCALL_GOES_ON;
	if (ctx->op == BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB)
		socket->flags |= SLB_SOCKET_ESTABLISHED;
	if (ctx->family == AF_INET6) {
		addr[0] = ctx->local_ip6[0];
		addr[1] = ctx->local_ip6[1];
		addr[2] = ctx->local_ip6[2];
		addr[3] = ctx->local_ip6[3];
		/* Else the compiler may share one load with the other branch, at an address that the verifier refuses.
		 */
		barrier();
	} else {
		addr[3] = ctx->local_ip4;
	}
	socket_set_client(socket, addr, bpf_htons(ctx->local_port));
	return SYSCALL_GOES_ON;
}

/* The kernel knows few names; of the two licences it is this one that lets a program call every helper. */
char _license[] SEC("license") = "GPL";
