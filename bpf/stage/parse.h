/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Parses from Ethernet to ports: fills the fields of struct pkt under "parse" and the tuple. Whether a malformed packet
 * is dropped depends on its destination: see pipeline_unreadable(). */
#pragma once
#include <stddef.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include "../lib/addr.h"
#include "../lib/bounds.h"
#include "../lib/csum.h"
#include "../lib/sctp.h"

#ifndef IPPROTO_ICMPV6
#define IPPROTO_ICMPV6 58
#endif

struct vlan_tag {
	__be16 tci;
	__be16 ethertype;
};

struct ip6_ext {
	__u8 nexthdr;
	__u8 len; /* in units of 8 bytes, without the first 8; authentication header: of 4 bytes, without the first 8 */
	__be16 offset; /* fragment header: offset in units of 8 bytes << 3 | more fragments */
	__be32 id;     /* fragment header */
};

enum {
	IP4_DF = 0x4000,
	IP4_MF = 0x2000,
	IP4_OFFSET = 0x1fff,
	IP6_MF = 0x0001,
	IP6_RESERVED = 0x0006,
	NEXTHDR_HOP = 0,
	NEXTHDR_ROUTING = 43,
	NEXTHDR_FRAGMENT = 44,
	NEXTHDR_AUTH = 51,
	NEXTHDR_DEST = 60,
};

/* 1 when equal, else 0. Without a branch: the verifier then walks one path behind each VLAN tag and not two. */
static __always_inline __u32 parse_same(__be16 a, __be16 b)
{
	__u32 differ = a ^ b;

	asm volatile("" : "+r"(differ)); /* else the compiler turns it into a branch */
	return (differ - 1) >> 31;
}

/* Finds the IP header behind up to SLB_VLAN_DEPTH tags in the frame. The outermost tag usually is not in the frame but
 * in the skb. */
static __always_inline __must_check enum slb_verdict parse_ethernet(struct pkt *pkt)
{
	const struct ethhdr *eth = at(pkt, 0, sizeof(*eth));
	__be16 ethertype;

	if (!eth)
		return SLB_NOT_IP;
	ethertype = eth->h_proto;
	pkt->l3 = sizeof(*eth);
#pragma unroll
	for (int depth = 0; depth < SLB_VLAN_DEPTH; depth++) {
		const struct vlan_tag *tag = at(pkt, pkt->l3, sizeof(*tag));
		__u32 tagged =
			parse_same(ethertype, bpf_htons(ETH_P_8021Q)) | parse_same(ethertype, bpf_htons(ETH_P_8021AD));

		if (!tag)
			return tagged ? SLB_DROP_MALFORMED : SLB_NOT_IP;
		ethertype ^= (ethertype ^ tag->ethertype) & -tagged;
		pkt->l3 += tagged * sizeof(*tag);
	}
	if (ethertype != bpf_htons(ETH_P_IP) && ethertype != bpf_htons(ETH_P_IPV6))
		return SLB_NOT_IP;
	pkt->family = ethertype == bpf_htons(ETH_P_IP) ? SLB_IP4 : SLB_IP6;
	return SLB_CONTINUE;
}

/* Checks the length in the IP header against the frame, which may have padding behind. A length of 0 is BIG TCP, a GSO
 * packet that is too long for the field: then the frame tells the length. */
static __always_inline __must_check enum slb_verdict parse_length(struct pkt *pkt, __u32 stated, __u32 header)
{
	__u32 there = pkt->frame_len - pkt->l3;

	pkt->ip_len = stated ? stated : there;
	return pkt->ip_len < header || pkt->ip_len > there ? SLB_DROP_MALFORMED : SLB_CONTINUE;
}

static __always_inline __must_check enum slb_verdict parse_ip4(struct pkt *pkt)
{
	const struct iphdr *ip = at(pkt, pkt->l3, sizeof(*ip));
	__u16 offset;

	if (!ip || ip->version != 4 || ip->ihl < 5)
		return SLB_DROP_MALFORMED;
	pkt->l4 = pkt->l3 + ip->ihl * 4;
	pkt->tuple->saddr[0] = ip->saddr;
	pkt->tuple->daddr[0] = ip->daddr;
	pkt->tuple->proto = ip->protocol;
	pkt->fragment_id = ip->id;
	offset = bpf_ntohs(ip->frag_off);
	pkt->fragment = (offset & IP4_OFFSET) << 1 | (offset & IP4_MF) >> 13;
	return parse_length(pkt, bpf_ntohs(ip->tot_len), ip->ihl * 4);
}

/* Skips one extension header at `*off`, if `*proto` is one. False when it is cut short, or ends beyond PKT_L4_MAX. */
static __always_inline __must_check bool parse_ip6_ext(struct pkt *pkt, __u32 *off, __u8 *proto)
{
	__u8 kind = *proto;
	const struct ip6_ext *ext;
	__u16 offset;

	if (kind != NEXTHDR_HOP && kind != NEXTHDR_ROUTING && kind != NEXTHDR_FRAGMENT && kind != NEXTHDR_AUTH &&
	    kind != NEXTHDR_DEST)
		return true;
	ext = at(pkt, *off, sizeof(*ext));
	if (!ext)
		return false;
	*proto = ext->nexthdr;
	if (kind == NEXTHDR_AUTH) {
		*off += (ext->len + 2) * 4;
	} else if (kind != NEXTHDR_FRAGMENT) {
		*off += (ext->len + 1) * 8;
	} else {
		*off += sizeof(*ext);
		offset = bpf_ntohs(ext->offset) & ~IP6_RESERVED;
		pkt->fragment_id = ext->id;
		pkt->fragment = offset >> 2 | (offset & IP6_MF);
	}
	return *off <= PKT_L4_MAX;
}

static __always_inline __must_check enum slb_verdict parse_ip6(struct pkt *pkt)
{
	const struct ipv6hdr *ip = at(pkt, pkt->l3, sizeof(*ip));
	__u32 off = pkt->l3 + sizeof(*ip);
	__u32 stated;
	__u8 proto;

	if (!ip || ip->version != 6)
		return SLB_DROP_MALFORMED;
	addr_copy(pkt->tuple->saddr, ip->saddr.in6_u.u6_addr32);
	addr_copy(pkt->tuple->daddr, ip->daddr.in6_u.u6_addr32);
	stated = bpf_ntohs(ip->payload_len);
	proto = pkt->nexthdr = ip->nexthdr;
#pragma unroll
	for (int i = 0; i < SLB_IP6_EXT_MAX; i++) {
		/* Behind the fragment header of a later fragment is payload. */
		if (pkt_later_fragment(pkt))
			break;
		if (!parse_ip6_ext(pkt, &off, &proto))
			return SLB_DROP_MALFORMED;
	}
	pkt->l4 = off;
	pkt->tuple->proto = proto;
	return parse_length(pkt, stated ? stated + sizeof(*ip) : 0, off - pkt->l3);
}

static __always_inline __must_check enum slb_verdict parse_tcp(struct pkt *pkt)
{
	const struct tcphdr *tcp = at(pkt, pkt->l4, sizeof(*tcp));

	if (!tcp || tcp->doff < 5 || pkt->l4 - pkt->l3 + tcp->doff * 4 > pkt->ip_len)
		return SLB_DROP_MALFORMED;
	pkt->tuple->sport = tcp->source;
	pkt->tuple->dport = tcp->dest;
	pkt->tcp_flags = ((const __u8 *)tcp)[13];
	return SLB_CONTINUE;
}

static __always_inline __must_check enum slb_verdict parse_udp(struct pkt *pkt)
{
	const struct udphdr *udp = at(pkt, pkt->l4, sizeof(*udp));

	if (!udp || pkt->l4 - pkt->l3 + sizeof(*udp) > pkt->ip_len)
		return SLB_DROP_MALFORMED;
	pkt->tuple->sport = udp->source;
	pkt->tuple->dport = udp->dest;
	return SLB_CONTINUE;
}

/* In tc by bpf_skb_load_bytes(): the chunks of an SCTP GSO packet are in frag_list buffers, which must not be
 * linearized (bpf_skb_pull_data()). */
static __always_inline __must_check enum slb_verdict parse_sctp(struct pkt *pkt, const enum slb_hook hook)
{
	const struct sctp_header *sctp = at(pkt, pkt->l4, sizeof(*sctp));
	__u32 chunk = pkt->l4 + sizeof(*sctp);
	__u8 type;

	if (!sctp || chunk - pkt->l3 + SCTP_CHUNK > pkt->ip_len)
		return SLB_DROP_MALFORMED;
	pkt->tuple->sport = sctp->source;
	pkt->tuple->dport = sctp->dest;
	if (!hook_has_skb(hook)) {
		const __u8 *there = at(pkt, chunk, SCTP_CHUNK);

		if (!there)
			return SLB_DROP_MALFORMED;
		type = *there;
	} else if (bpf_skb_load_bytes(pkt->ctx, chunk, &type, sizeof(type))) {
		return SLB_DROP_MALFORMED;
	}
	pkt->tcp_flags = sctp_as_tcp(type);
	return SLB_CONTINUE;
}

/* The checksum field of the TCP or UDP header at `l4`; NULL when the packet ends before. */
static __always_inline __u16 *parse_csum(const struct pkt *pkt, __u32 l4, __u8 proto)
{
	return proto == IPPROTO_UDP ? at(pkt, l4 + offsetof(struct udphdr, check), 2)
				    : at(pkt, l4 + offsetof(struct tcphdr, check), 2);
}

/* XDP cannot finish a checksum, nor tell the stack that it is still to be finished. */
static __always_inline bool parse_csum_partial(const struct pkt *pkt, const enum slb_family family)
{
	__u32 length = pkt->ip_len - (pkt->l4 - pkt->l3);
	const __u16 *check;

	if (pkt->tuple->proto == IPPROTO_SCTP) {
		const struct sctp_header *sctp = at(pkt, pkt->l4, sizeof(*sctp));

		return sctp && !sctp->checksum;
	}
	check = parse_csum(pkt, pkt->l4, pkt->tuple->proto);
	return check && csum_is_partial(*check, pkt->tuple, length, family);
}

static __always_inline bool parse_has_ports(__u8 proto)
{
	return proto == IPPROTO_TCP || proto == IPPROTO_UDP || proto == IPPROTO_SCTP;
}

/* ICMP has no ports: icmp.h parses it. A later fragment has none either. */
static __always_inline __must_check enum slb_verdict parse_transport(struct pkt *pkt, const enum slb_hook hook)
{
	__u8 proto = pkt->tuple->proto;

	if (proto == (pkt->family == SLB_IP4 ? IPPROTO_ICMP : IPPROTO_ICMPV6))
		return SLB_CONTINUE;
	if (!parse_has_ports(proto))
		return SLB_OTHER_PROTOCOL;
	pkt->conn_oriented = proto != IPPROTO_UDP;
	if (pkt_later_fragment(pkt))
		return SLB_CONTINUE;
	if (proto == IPPROTO_TCP)
		return parse_tcp(pkt);
	return proto == IPPROTO_UDP ? parse_udp(pkt) : parse_sctp(pkt, hook);
}

/* Returns `number`, with bounds unknown to the verifier. Each path through the parser leaves other bounds, and the
 * verifier would walk all later stages for each of them: half a million instructions instead of some ten thousand. The
 * highest bit of frame_len is never set, but the verifier does not know that. */
static __always_inline __u32 parse_hide(const struct pkt *pkt, __u32 number)
{
	return number ^ -(pkt->frame_len >> 31);
}

static __always_inline void parse_hide_bounds(struct pkt *pkt, const enum slb_hook hook)
{
	pkt_load(pkt, hook); /* packet pointers without a verified range */
	pkt->l3 = parse_hide(pkt, pkt->l3);
	pkt->l4 = parse_hide(pkt, pkt->l4);
	pkt->ip_len = parse_hide(pkt, pkt->ip_len);
	pkt->fragment = parse_hide(pkt, pkt->fragment);
	pkt->fragment_id = parse_hide(pkt, pkt->fragment_id);
	pkt->tcp_flags = parse_hide(pkt, pkt->tcp_flags);
	pkt->conn_oriented = parse_hide(pkt, pkt->conn_oriented);
	pkt->nexthdr = parse_hide(pkt, pkt->nexthdr);
	pkt->unknown = parse_hide(pkt, pkt->unknown);
	pkt->moves = parse_hide(pkt, pkt->moves);
	pkt->tuple->proto = parse_hide(pkt, pkt->tuple->proto);
}

/* CONTINUE; NOT_IP, OTHER_PROTOCOL or DROP_MALFORMED. */
static __always_inline __must_check enum slb_verdict parse(struct pkt *pkt, const enum slb_hook hook)
{
	enum slb_verdict verdict = parse_ethernet(pkt);

	if (verdict != SLB_CONTINUE)
		return verdict;
	verdict = pkt->family == SLB_IP4 ? parse_ip4(pkt) : parse_ip6(pkt);
	if (verdict != SLB_CONTINUE)
		return verdict;
	parse_hide_bounds(pkt, hook);
	verdict = parse_transport(pkt, hook);
	parse_hide_bounds(pkt, hook);
	return verdict;
}
