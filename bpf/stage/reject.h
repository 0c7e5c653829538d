/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Rejects a packet, so that a client of a service without endpoints does not wait: TCP RST, or an ICMP error
 * (icmp_error.h). The packet itself becomes the answer and is sent back. In tc only. */
#pragma once
#include "../lib/addr.h"
#include "../lib/bounds.h"
#include "../lib/csum.h"
#include "forward.h"
#include "parse.h"

#define REJECT_TTL	 64
#define IP4_OPTION_WORDS 10

/* Overwrites the IPv4 options with end-of-list. They keep their room: see reject_rst(). */
static __always_inline void reject_options(struct pkt *pkt, __u32 header)
{
#pragma unroll
	for (__u32 i = 0; i < IP4_OPTION_WORDS; i++) {
		__u32 off = sizeof(struct iphdr) + 4 * i;
		__be32 *option = at(pkt, pkt->l3 + off, sizeof(*option));

		if (off < header && option)
			*option = 0;
	}
}

/* Writes the IP header of the answer, from the service address to the client, with `payload` bytes behind it. */
static __always_inline __must_check bool reject_ip4(struct pkt *pkt, __u8 proto, __u32 header, __u32 payload)
{
	struct iphdr *ip = at(pkt, pkt->l3, sizeof(*ip));
	__u32 sum = 0;

	if (!ip)
		return false;
	*ip = (struct iphdr){
		.version = 4,
		.ihl = header / 4,
		.tot_len = bpf_htons(header + payload),
		.frag_off = bpf_htons(IP4_DF),
		.ttl = REJECT_TTL,
		.protocol = proto,
		.saddr = pkt->tuple->daddr[0],
		.daddr = pkt->tuple->saddr[0],
	};
#pragma unroll
	for (__u32 i = 0; i < sizeof(*ip) / 4; i++)
		sum = csum_add(sum, ((__u32 *)ip)[i]);
	ip->check = ~csum_to16(sum);
	reject_options(pkt, header);
	return true;
}

static __always_inline __must_check bool reject_ip6(struct pkt *pkt, __u8 proto, __u32 payload)
{
	struct ipv6hdr *ip = at(pkt, pkt->l3, sizeof(*ip));

	if (!ip)
		return false;
	*(__be32 *)ip = bpf_htonl(6u << 28);
	ip->payload_len = bpf_htons(payload);
	ip->nexthdr = proto;
	ip->hop_limit = REJECT_TTL;
	addr_copy(ip->saddr.in6_u.u6_addr32, pkt->tuple->daddr);
	addr_copy(ip->daddr.in6_u.u6_addr32, pkt->tuple->saddr);
	return true;
}

/* RFC 9293, 3.10.7.1: the sequence number of the RST is the ACK of the segment; without ACK the RST acknowledges it. */
static __always_inline void reject_tcp(struct tcphdr *tcp, __u32 length)
{
	__be32 seq = 0, ack = 0;
	__be16 port = tcp->source;
	bool acks = tcp->ack;

	if (acks)
		seq = tcp->ack_seq;
	else
		ack = bpf_htonl(bpf_ntohl(tcp->seq) + length + tcp->syn + tcp->fin);
	tcp->source = tcp->dest;
	tcp->dest = port;
	tcp->seq = seq;
	tcp->ack_seq = ack;
	((__be16 *)tcp)[6] = bpf_htons(5 << 12 | TCP_RST | (acks ? 0 : TCP_ACK));
	tcp->window = 0;
	tcp->check = 0;
	tcp->urg_ptr = 0;
}

/* Turns the packet into a RST and sends it back: `verdict`, or DROP_INTERNAL. The transport header keeps its offset, so
 * IPv4 options are blanked and IPv6 extension headers are sent back: with CHECKSUM_PARTIAL the skb has csum_start,
 * which programs can neither read nor clear. For the same reason a partial checksum stays partial. */
static __always_inline __must_check enum slb_verdict reject_rst(struct pkt *pkt, enum slb_verdict verdict,
								const enum slb_hook hook, const enum slb_family family)
{
	__u32 header = pkt->l4 - pkt->l3, length = pkt->ip_len - header, sum = 0;
	struct tcphdr *tcp = at(pkt, pkt->l4, sizeof(*tcp));
	bool partial, built;

	if (!tcp)
		return SLB_DROP_INTERNAL;
	partial = csum_is_partial(tcp->check, pkt->tuple, length, family);
	reject_tcp(tcp, length - tcp->doff * 4);
	if (bpf_skb_change_tail(pkt->ctx, pkt->l4 + sizeof(*tcp), 0))
		return SLB_DROP_INTERNAL;
	pkt_load(pkt, hook);
	if (family == SLB_IP4)
		built = reject_ip4(pkt, IPPROTO_TCP, header, sizeof(*tcp));
	else
		built = reject_ip6(pkt, pkt->nexthdr, header - sizeof(struct ipv6hdr) + sizeof(*tcp));
	tcp = at(pkt, pkt->l4, sizeof(*tcp));
	if (!built || !tcp)
		return SLB_DROP_INTERNAL;
	if (!partial) {
#pragma unroll
		for (__u32 i = 0; i < sizeof(*tcp) / 4; i++)
			sum = csum_add(sum, ((__u32 *)tcp)[i]);
	}
	sum = csum_add(sum, csum_pseudo(pkt->tuple, IPPROTO_TCP, sizeof(*tcp), family));
	tcp->check = partial ? csum_to16(sum) : ~csum_to16(sum);
	return forward_hairpin(pkt, hook) ? verdict : SLB_DROP_INTERNAL;
}
