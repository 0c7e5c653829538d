// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/* Clients that dial a NodePort from outside and close at once, and the backend's answers: six segments a connection,
 * one a run of BPF_PROG_TEST_RUN. That does not restore the packet between repeats, so the run behind a SYN finds it as
 * the program has translated it, and reads there which source port the connection was given. Repeats must be a multiple
 * of six. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define PORT_MIN 1024
#define PORT_MAX 65535

enum { SYN, SYN_ACK, ACK, FIN, FIN_ACK, LAST_ACK, SEGMENTS };

struct bench_ends {
	__be32 client; /* whose low 20 bits are 0: clients are numbered in them */
	__be32 node;
	__be32 backend;
	__be16 node_port;
	__be16 backend_port;
};

/* Frozen before load. */
const volatile struct bench_ends bench SEC(".rodata.bench");

/* The connection under way. Test runs are one after the other, on one CPU. */
struct {
	__u32 step; /* the segment that comes next */
	__u32 turn;
	__be32 client;
	__be16 sport; /* of the client */
	__be16 seen;  /* of the same, as the backend sees it; 0: the SYN did not reach it */
	__u32 isn;
} now;

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u32);
} bench_tc SEC(".maps");

struct frame {
	struct ethhdr eth;
	struct iphdr ip;
	struct tcphdr tcp;
} __attribute__((packed));

/* The low bits of this generator are one of their own: every client comes before one comes again. Ports and sequence
 * numbers are what the kernel's are, as good as random. */
static __always_inline void dial(void)
{
	now.turn = now.turn * 1664525 + 1013904223;
	now.client = bench.client | bpf_htonl(now.turn & 0xfffff);
	now.sport = bpf_htons(PORT_MIN + bpf_get_prandom_u32() % (PORT_MAX - PORT_MIN + 1));
	now.isn = bpf_get_prandom_u32();
}

/* No checksum is right, and none is looked at: they are changed by differences. */
static __always_inline void write(struct frame *frame, __u32 step)
{
	const __u8 mac[ETH_ALEN] = {2, 0, 0, 0, 0, 1}; /* of every device there */
	int answers = step == SYN_ACK || step == FIN_ACK;
	__u32 sent = step == SYN ? 0 : step < FIN_ACK ? 1 : 2; /* sequence numbers that the client has used up */

	__builtin_memset(frame, 0, sizeof(*frame));
	__builtin_memcpy(frame->eth.h_dest, mac, ETH_ALEN);
	frame->eth.h_proto = bpf_htons(ETH_P_IP);
	frame->ip.version = 4;
	frame->ip.ihl = 5;
	frame->ip.tot_len = bpf_htons(sizeof(frame->ip) + sizeof(frame->tcp));
	frame->ip.ttl = 64;
	frame->ip.protocol = IPPROTO_TCP;
	frame->ip.saddr = answers ? bench.backend : now.client;
	frame->ip.daddr = bench.node;
	frame->tcp.source = answers ? bench.backend_port : now.sport;
	frame->tcp.dest = answers ? now.seen : bench.node_port;
	frame->tcp.doff = 5;
	frame->tcp.syn = step == SYN || step == SYN_ACK;
	frame->tcp.fin = step == FIN || step == FIN_ACK;
	frame->tcp.ack = step != SYN;
	if (answers) {
		frame->tcp.seq = bpf_htonl(step == SYN_ACK ? 900 : 901);
		frame->tcp.ack_seq = bpf_htonl(now.isn + (step == SYN_ACK ? 1 : 2));
	} else {
		frame->tcp.seq = bpf_htonl(now.isn + sent);
		frame->tcp.ack_seq = step == SYN ? 0 : bpf_htonl(step == LAST_ACK ? 902 : 901);
	}
}

SEC("tc")
int bench_ports(struct __sk_buff *skb)
{
	struct frame *frame = (void *)(long)skb->data;
	__u32 step = now.step;

	if ((void *)(frame + 1) > (void *)(long)skb->data_end)
		return TC_ACT_SHOT;
	now.step = step + 1 == SEGMENTS ? 0 : step + 1;
	if (step == SYN)
		dial();
	if (step == SYN_ACK)
		now.seen = frame->ip.daddr == bench.backend ? frame->tcp.source : 0;
	if (step != SYN && !now.seen)
		return TC_ACT_OK; /* the rest of a connection that was not opened */
	write(frame, step);
	bpf_tail_call_static(skb, &bench_tc, 0);
	return TC_ACT_SHOT;
}

char _license[] SEC("license") = "GPL";
