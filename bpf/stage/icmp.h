/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* ICMP errors about translated packets: their receiver must find its own packet quoted. Without this, path MTU
 * discovery fails behind a service. In tc only.
 *
 * An error comes from beyond the translation and quotes the translated packet. With its ends exchanged the quoted tuple
 * is the key of the other direction, whose rewrite translates the error. */
#pragma once
#include "../lib/addr.h"
#include "../lib/flow.h"
#include "../lib/icmphdr.h"
#include "../maps/draft.h"
#include "forward.h"
#include "parse.h"
#include "rewrite.h"
#include "rpfilter.h"
#include "track.h"

struct quoted {
	__u32 l3; /* offsets */
	__u32 l4;
	struct slb_flow_key6 key; /* of the flow that translates the error */
};

static __always_inline bool icmp_is_error(__u8 type, const enum slb_family family)
{
	if (family == SLB_IP6)
		return type < ICMP6_INFORMATIONAL;
	return type == ICMP4_UNREACHABLE || type == ICMP4_TIME_EXCEEDED || type == ICMP4_PARAMETER;
}

/* Reads the quoted IP header. IPv6 extension headers are not walked: only a client would have put them there. */
static __always_inline __must_check bool icmp_quoted_ip(const struct pkt *pkt, struct quoted *quoted,
							const enum slb_family family)
{
	quoted->l3 = pkt->l4 + sizeof(struct icmp_header);
	if (family == SLB_IP4) {
		const struct iphdr *ip = at(pkt, quoted->l3, sizeof(*ip));

		if (!ip || ip->version != 4 || ip->ihl < 5 || ip->frag_off & bpf_htons(IP4_OFFSET))
			return false;
		quoted->l4 = quoted->l3 + ip->ihl * 4;
		quoted->key.proto = ip->protocol;
		quoted->key.saddr[0] = ip->daddr;
		quoted->key.daddr[0] = ip->saddr;
	} else {
		const struct ipv6hdr *ip = at(pkt, quoted->l3, sizeof(*ip));

		if (!ip || ip->version != 6)
			return false;
		quoted->l4 = quoted->l3 + sizeof(*ip);
		quoted->key.proto = ip->nexthdr;
		addr_copy(quoted->key.saddr, ip->daddr.in6_u.u6_addr32);
		addr_copy(quoted->key.daddr, ip->saddr.in6_u.u6_addr32);
	}
	return parse_has_ports(quoted->key.proto);
}

/* Updates a checksum field of the quoted packet by delta. Returns the change of the field itself. */
static __always_inline __u32 icmp_patch_csum(__u16 *field, __u32 delta)
{
	__u16 before = *field;

	*field = csum_by_diff(before, delta);
	return csum_add(*field, (__u16)~before);
}

/* Writes the flow's tuple, ends exchanged, over the quoted one. Returns the change of the ICMP message's own sum. */
static __always_inline __u32 icmp_patch_quoted(struct pkt *pkt, const struct quoted *quoted,
					       const struct slb_flow *flow, const enum slb_family family)
{
	__u32 delta = csum_add(flow->addr_delta, flow->port_delta), grown = delta;
	bool udp = quoted->key.proto == IPPROTO_UDP;
	__be16 *ports = at(pkt, quoted->l4, 4);
	/* An error may quote 8 bytes of the transport header alone (RFC 792), without the checksum of TCP. */
	__u16 *check = parse_csum(pkt, quoted->l4, quoted->key.proto);

	if (family == SLB_IP4) {
		struct iphdr *ip = at(pkt, quoted->l3, sizeof(*ip));

		if (ip) {
			ip->saddr = flow->daddr[0];
			ip->daddr = flow->saddr[0];
			grown = csum_add(grown, icmp_patch_csum(&ip->check, flow->addr_delta));
		}
	} else {
		struct ipv6hdr *ip = at(pkt, quoted->l3, sizeof(*ip));

		if (ip) {
			addr_copy(ip->saddr.in6_u.u6_addr32, flow->daddr);
			addr_copy(ip->daddr.in6_u.u6_addr32, flow->saddr);
		}
	}
	if (ports) {
		ports[0] = flow->dport;
		ports[1] = flow->sport;
	}
	/* The checksum of SCTP stays: no receiver can verify it for a packet that is quoted in part. */
	if (check && quoted->key.proto != IPPROTO_SCTP && !(udp && !*check))
		grown = csum_add(grown, icmp_patch_csum(check, delta));
	return grown;
}

/* Rewrites the addresses of the error itself where they are those of the flow; its sender is often a router. Returns
 * the change of their sum. */
static __always_inline __u32 icmp_patch_outer(struct pkt *pkt, const struct quoted *quoted, const struct slb_flow *flow,
					      const enum slb_family family)
{
	struct slb_draft *draft = draft_get();
	struct slb_flow *outer = &draft->flow;

	if (!draft)
		return 0;
	addr_copy(outer->saddr,
		  addr_equal(pkt->tuple->saddr, quoted->key.saddr, family) ? flow->saddr : pkt->tuple->saddr);
	addr_copy(outer->daddr,
		  addr_equal(pkt->tuple->daddr, quoted->key.daddr, family) ? flow->daddr : pkt->tuple->daddr);
	flow_deltas(outer, pkt->tuple, family);
	return rewrite_ip(pkt, outer, family) ? outer->addr_delta : 0;
}

/* The checksum of ICMPv6 covers the outer addresses, too. For bpf_csum_update() see rewrite_csum_skb(). */
static __always_inline __must_check bool icmp_fix_csum(struct pkt *pkt, __u32 grown, __u32 outer,
						       const enum slb_family family)
{
	__u32 field = pkt->l4 + offsetof(struct icmp_header, checksum);

	if (bpf_l4_csum_replace(pkt->ctx, field, 0, grown, 0))
		return false;
	if (family == SLB_IP4)
		return true;
	if (bpf_l4_csum_replace(pkt->ctx, field, 0, outer, BPF_F_PSEUDO_HDR))
		return false;
	bpf_csum_update(pkt->ctx, outer);
	return true;
}

/* Finds the flow that the error is about: CONTINUE, or a verdict that passes the packet. */
static __always_inline __must_check enum slb_verdict icmp_find(struct pkt *pkt, struct quoted *quoted,
							       const struct slb_flow **flow, const enum slb_hook hook,
							       const enum slb_family family)
{
	struct __sk_buff *skb = pkt->ctx;
	const __be16 *ports;
	enum slb_tier tier;
	const __u8 *type;

	if (pkt->fragment)
		return SLB_NOT_OURS;
	bpf_skb_pull_data(skb, pkt->frame_len < PKT_OFF_MASK ? pkt->frame_len : PKT_OFF_MASK);
	pkt_load(pkt, hook);
	type = at(pkt, pkt->l4, sizeof(struct icmp_header));
	if (!type || !icmp_is_error(*type, family))
		return SLB_OTHER_PROTOCOL;
	if (!icmp_quoted_ip(pkt, quoted, family))
		return SLB_NOT_OURS;
	ports = at(pkt, quoted->l4, 8);
	if (!ports)
		return SLB_NOT_OURS;
	quoted->key.sport = ports[1];
	quoted->key.dport = ports[0];
	*flow = flow_live(&quoted->key, &tier, family);
	if (!*flow)
		return SLB_NOT_OURS;
	return (*flow)->flags & flow_hook_bit(hook) ? SLB_CONTINUE : SLB_OTHER_HOOK;
}

/* ICMP_REQUEST or ICMP_REPLY for an error that was translated. */
static __always_inline __must_check enum slb_verdict icmp(struct pkt *pkt, const enum slb_hook hook,
							  const enum slb_family family)
{
	struct quoted quoted = {};
	const struct slb_flow *flow = NULL;
	enum slb_verdict verdict = icmp_find(pkt, &quoted, &flow, hook, family);
	struct route route = {};
	__u32 grown, outer;

	if (verdict == SLB_CONTINUE && hook_is_ingress(hook) && flow->forward != SLB_FORWARD_STACK &&
	    !rpfilter_passes(pkt, family))
		return SLB_DROP_MARTIAN;
	if (verdict == SLB_CONTINUE)
		verdict = forward_find(pkt, flow, &route, false, hook, family);
	if (verdict != SLB_CONTINUE)
		return verdict;
	grown = icmp_patch_quoted(pkt, &quoted, flow, family);
	outer = icmp_patch_outer(pkt, &quoted, flow, family);
	if (!icmp_fix_csum(pkt, grown, outer, family))
		return SLB_DROP_INTERNAL;
	verdict = forward(pkt, flow, &route, hook, family);
	if (verdict != SLB_CONTINUE)
		return verdict;
	flow_account(pkt, flow);
	return pkt->reply ? SLB_ICMP_REPLY : SLB_ICMP_REQUEST;
}
