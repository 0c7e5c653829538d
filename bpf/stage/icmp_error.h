/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Answers a packet with an ICMP error: port unreachable, too big, or time exceeded (RFC 792, 1122, 1191, 4443). In tc
 * only. */
#pragma once
#include "../lib/addr.h"
#include "../lib/clock.h"
#include "../lib/icmphdr.h"
#include "../maps/bucket.h"
#include "../maps/devices.h"
#include "../maps/icmpquote.h"
#include "reject.h"

/* Copies the start of the packet (RFC 792 wants 8 bytes behind the IP header, RFC 4443 as much as fits) and returns its
 * length, 0 on failure: a multiple of 4, as headers are, to be summed in words. The rest of the row is 0, so that the
 * sum can have a constant length. */
static __always_inline __must_check __u32 icmp_error_quote(struct pkt *pkt, struct slb_icmp_quote *quote)
{
	__u64 len = pkt->ip_len & ~3;

	__builtin_memset(quote->bytes, 0, sizeof(quote->bytes));
	if (len > sizeof(quote->bytes))
		len = sizeof(quote->bytes);
	/* Makes the compiler test the register that it passes: else the verifier does not see the bounds. */
	asm volatile("" : "+r"(len));
	if (len < sizeof(struct iphdr) || len > sizeof(quote->bytes))
		return 0;
	return bpf_skb_load_bytes(pkt->ctx, pkt->l3, quote->bytes, len) ? 0 : len;
}

/* Type and code, and the word behind the checksum, in host order. */
struct icmp_error {
	__u16 head;
	__u32 rest;
};

static __always_inline struct icmp_error icmp_error_port(const enum slb_family family)
{
	return (struct icmp_error){.head = family == SLB_IP4 ? ICMP4_UNREACHABLE << 8 | ICMP4_UNREACHABLE_PORT
							     : ICMP6_UNREACHABLE << 8 | ICMP6_UNREACHABLE_PORT};
}

static __always_inline struct icmp_error icmp_error_too_big(__u32 mtu, const enum slb_family family)
{
	return (struct icmp_error){
		.head = family == SLB_IP4 ? ICMP4_UNREACHABLE << 8 | ICMP4_UNREACHABLE_FRAGMENT : ICMP6_TOO_BIG << 8,
		.rest = mtu,
	};
}

static __always_inline struct icmp_error icmp_error_ttl(const enum slb_family family)
{
	return (struct icmp_error){.head = (family == SLB_IP4 ? ICMP4_TIME_EXCEEDED : ICMP6_TIME_EXCEEDED) << 8};
}

#define ICMP_ERROR_RATE	 200 /* errors per second and CPU */
#define ICMP_ERROR_BURST 50

/* Takes a token for an error that a sender can cause as often as it sends; false when there is none. */
static __always_inline __must_check bool icmp_error_allowed(void)
{
	const __u32 most = ICMP_ERROR_BURST * slb_config.hz;
	struct slb_bucket *bucket = bucket_get();
	__u32 now = clock_now(), since, credit;

	if (!bucket)
		return false;
	since = now - bucket->stamp;
	credit = bucket->credit + (since > most / ICMP_ERROR_RATE ? most : since * ICMP_ERROR_RATE);
	if (credit > most)
		credit = most;
	bucket->stamp = now;
	bucket->credit = credit < slb_config.hz ? credit : credit - slb_config.hz;
	return credit >= slb_config.hz;
}

/* Time exceeded comes from this node as a router, not from the service: sets the address of the input device as its
 * source. False when no error is to be sent: for a later fragment (RFC 1122, 3.2.2), or without a token. */
static __always_inline __must_check bool icmp_error_from_node(struct pkt *pkt, const enum slb_family family)
{
	const struct __sk_buff *skb = pkt->ctx;
	const struct slb_device *device;

	if (pkt_later_fragment(pkt) || !icmp_error_allowed())
		return false;
	asm volatile("" : "+r"(skb)); /* as in pkt_load() */
	device = device_get(skb->ifindex);
	if (!device)
		return false;
	if (family == SLB_IP4 && device->addr4)
		pkt->tuple->daddr[0] = device->addr4;
	if (family == SLB_IP6 && (device->addr6[0] | device->addr6[3]))
		addr_copy(pkt->tuple->daddr, device->addr6);
	return true;
}

/* Builds the first 8 bytes. The checksum is always complete: if that of the rejected packet was partial, the packet
 * came from a local device, and the receiver does not verify. Only ICMPv6 covers a pseudo header. */
static __always_inline void icmp_error_icmp(__be32 *icmp, const struct pkt *pkt, const struct icmp_error *error,
					    __u32 quoted, __u32 sum, const enum slb_family family)
{
	__u32 head = (__u32)error->head << 16;

	sum = csum_add(csum_add(sum, bpf_htonl(head)), bpf_htonl(error->rest));
	if (family == SLB_IP6)
		sum = csum_add(sum,
			       csum_pseudo(pkt->tuple, IPPROTO_ICMPV6, quoted + sizeof(struct icmp_header), family));
	icmp[0] = bpf_htonl(head) | bpf_htonl(bpf_ntohs((__u16)~csum_to16(sum)));
	icmp[1] = bpf_htonl(error->rest);
}

/* Turns the packet into the error and sends it back: `verdict`, or DROP_INTERNAL. */
static __always_inline __must_check enum slb_verdict reject_icmp(struct pkt *pkt, const struct icmp_error *error,
								 enum slb_verdict verdict, const enum slb_hook hook,
								 const enum slb_family family)
{
	const __u32 header = family == SLB_IP4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
	const __u8 proto = family == SLB_IP4 ? IPPROTO_ICMP : IPPROTO_ICMPV6;
	struct slb_icmp_quote *quote = icmp_quote_get();
	__u32 quoted = quote ? icmp_error_quote(pkt, quote) : 0;
	__be32 icmp[2];
	__s64 sum;
	bool built;

	if (!quoted)
		return SLB_DROP_INTERNAL;
	sum = bpf_csum_diff(NULL, 0, (__be32 *)quote->bytes, sizeof(quote->bytes), 0);
	if (sum < 0 || bpf_skb_change_tail(pkt->ctx, pkt->l3 + header + sizeof(icmp) + quoted, 0))
		return SLB_DROP_INTERNAL;
	icmp_error_icmp(icmp, pkt, error, quoted, sum, family);
	if (bpf_skb_store_bytes(pkt->ctx, pkt->l3 + header, icmp, sizeof(icmp), 0) ||
	    bpf_skb_store_bytes(pkt->ctx, pkt->l3 + header + sizeof(icmp), quote->bytes, quoted, 0))
		return SLB_DROP_INTERNAL;
	pkt_load(pkt, hook);
	if (family == SLB_IP4)
		built = reject_ip4(pkt, proto, header, sizeof(icmp) + quoted);
	else
		built = reject_ip6(pkt, proto, sizeof(icmp) + quoted);
	return built && forward_hairpin(pkt, hook) ? verdict : SLB_DROP_INTERNAL;
}
