// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/* Cgroup hooks: system calls that name a service get a backend, and are told that the peer is the service. */
#include "lib/count.h"
#include "socklb/translate.h"

enum { SYSCALL_FAILS = 0, SYSCALL_GOES_ON = 1 };

/* <sys/socket.h> does not compile for BPF. */
enum { SOCK_STREAM = 1, SOCK_DGRAM = 2, AF_INET6 = 10 };

/* TCP and UDP; not raw sockets, MPTCP or UDP-Lite. */
static __always_inline bool wanted(const struct bpf_sock_addr *ctx)
{
	return (ctx->type == SOCK_STREAM && ctx->protocol == IPPROTO_TCP) ||
	       (ctx->type == SOCK_DGRAM && ctx->protocol == IPPROTO_UDP);
}

/* For an IPv4-mapped address of an IPv6 socket the kernel calls the IPv6 hook at connect(), the IPv4 one at sendto().
 */
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

/* recvmsg() and getpeername(): replaces a backend's address by that of the service that the program dialled. */
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

/* The last reference of the process side is gone: close() of the last descriptor. */
SEC("cgroup/sock_release")
int slb_sock_close(struct bpf_sock *ctx)
{
	socket_release(ctx, bpf_get_socket_cookie(ctx));
	return SYSCALL_GOES_ON;
}

/* Before the SYN of a TCP socket, and after the SYN-ACK: the kernel has chosen the local address. ctx->reply stays as
 * it is, for other programs may set it. */
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
		barrier(); /* else the compiler may merge the loads of both branches at a variable ctx offset */
	} else {
		addr[3] = ctx->local_ip4;
	}
	socket_set_client(socket, addr, bpf_htons(ctx->local_port));
	return SYSCALL_GOES_ON;
}

/* Of the two licences, the one that GPL-only helpers require. */
char _license[] SEC("license") = "GPL";
