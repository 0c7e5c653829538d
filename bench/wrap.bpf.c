// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/* Drives the unmodified programs in BPF_PROG_TEST_RUN, which does not restore the packet between repeats: each run puts
 * the frame back to its length and content, takes the next client out of a permutation, and tail-calls the program. The
 * *_floor twins do all of that and then return: what they take is subtracted. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <stdbool.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define FRAME_MAX 96

struct bench_frame {
	__u64 words[FRAME_MAX / 8];
	__u32 length; /* bytes of the frame, a multiple of 8 */
	__u32 client; /* offset of the low 32 bits of the client's address, whose low 20 bits are 0 in the frame */
	__u32 ip_sum; /* offset of the IPv4 header checksum; 0: none */
	__u32 l4_sum; /* offset of the TCP or UDP checksum */
	__u32 mask;   /* clients - 1; clients is a power of two */
	__u32 slot;   /* of the program in its array */
};

/* Frozen before load: every loop and branch below is gone from the running program. */
const volatile struct bench_frame bench SEC(".rodata.bench");

__u32 turn, period;

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u32);
} bench_xdp SEC(".maps"), bench_tc SEC(".maps");

/* RFC 1624, eqn. 3, for 32 bits that were 0. */
static __always_inline void checksum_add(__u16 *sum, __be32 value)
{
	__u32 total = (__u16) ~*sum + (value & 0xffff) + (value >> 16);

	total = (total & 0xffff) + (total >> 16);
	*sum = ~((total & 0xffff) + (total >> 16));
}

/* Every client comes once a period, in an order that no prefetcher knows and that is another one in each period: rows
 * lie in memory as flows began, in the order of the first. Of the bits below the mask, multiplying by an odd number
 * moves low ones up, shifting moves high ones down, and either can be undone: a permutation. */
static __always_inline __be32 next_client(void)
{
	__u32 client = turn++ & bench.mask;

	period += !client;
	client = client * 0x9e3779b1 & bench.mask;
	client ^= client >> 7;
	client ^= period * 0x85ebca6b >> 9;
	client = client * 0xc2b2ae35 & bench.mask;
	client ^= client >> 5;
	return bpf_htonl(client * 0x27d4eb2f & bench.mask);
}

static __always_inline bool restore(void *data, void *end)
{
	__be32 client = next_client();

	if (data + bench.length > end)
		return false;
#pragma unroll
	for (__u32 i = 0; i < FRAME_MAX / 8; i++)
		if (i < bench.length / 8)
			((__u64 *)data)[i] = bench.words[i];
	*(__be32 *)(data + bench.client) |= client;
	if (bench.ip_sum)
		checksum_add(data + bench.ip_sum, client);
	checksum_add(data + bench.l4_sum, client);
	return true;
}

static __always_inline bool restore_xdp(struct xdp_md *xdp)
{
	int length = (long)xdp->data_end - (long)xdp->data;

	/* Also when there is nothing to adjust: the programs themselves may have moved the head. */
	if (bpf_xdp_adjust_head(xdp, length - (int)bench.length))
		return false;
	return restore((void *)(long)xdp->data, (void *)(long)xdp->data_end);
}

SEC("xdp")
int bench_xdp_run(struct xdp_md *xdp)
{
	if (restore_xdp(xdp))
		bpf_tail_call_static(xdp, &bench_xdp, 0);
	return XDP_ABORTED;
}

SEC("xdp")
int bench_xdp_floor(struct xdp_md *xdp)
{
	return restore_xdp(xdp) ? XDP_TX : XDP_ABORTED;
}

static __always_inline bool restore_tc(struct __sk_buff *skb)
{
	return restore((void *)(long)skb->data, (void *)(long)skb->data_end);
}

SEC("tc")
int bench_tc_run(struct __sk_buff *skb)
{
	if (restore_tc(skb)) {
		if (bench.slot == 0)
			bpf_tail_call_static(skb, &bench_tc, 0);
		else
			bpf_tail_call_static(skb, &bench_tc, 1);
	}
	return TC_ACT_SHOT;
}

SEC("tc")
int bench_tc_floor(struct __sk_buff *skb)
{
	return restore_tc(skb) ? TC_ACT_OK : TC_ACT_SHOT;
}

char _license[] SEC("license") = "GPL";
