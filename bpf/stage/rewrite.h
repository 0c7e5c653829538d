/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Writes a flow's tuple over the packet's, and updates checksums by the deltas of the flow (RFC 1624). */
#pragma once
#include <stddef.h>
#include "../lib/addr.h"
#include "../lib/bounds.h"
#include "../lib/csum.h"
#include "parse.h"

static __always_inline __must_check bool rewrite_ip(struct pkt *pkt, const struct slb_flow *flow,
						    const enum slb_family family)
{
	if (family == SLB_IP4) {
		struct iphdr *ip = at(pkt, pkt->l3, sizeof(*ip));

		if (!ip)
			return false;
		ip->saddr = flow->saddr[0];
		ip->daddr = flow->daddr[0];
		ip->check = csum_by_diff(ip->check, flow->addr_delta);
	} else {
		struct ipv6hdr *ip = at(pkt, pkt->l3, sizeof(*ip));

		if (!ip)
			return false;
		addr_copy(ip->saddr.in6_u.u6_addr32, flow->saddr);
		addr_copy(ip->daddr.in6_u.u6_addr32, flow->daddr);
	}
	return true;
}

/* bpf_l4_csum_replace() follows skb->ip_summed. CHECKSUM_PARTIAL: the field is the sum of the pseudo header, to which
 * addresses belong and ports do not. CHECKSUM_COMPLETE: skb->csum is the sum of all bytes behind Ethernet; the helper
 * corrects it as for IPv4, whose header checksum cancels the change of the addresses. In IPv6 the change of the
 * addresses cancels that of the transport checksum instead, so bpf_csum_update() undoes the correction (BPF_F_IPV6 is
 * of kernel 6.16). It fails without effect unless the skb has such a sum. */
static __always_inline __must_check bool rewrite_csum_skb(struct pkt *pkt, const struct slb_flow *flow,
							  const enum slb_family family)
{
	bool udp = pkt->tuple->proto == IPPROTO_UDP;
	__u32 field = pkt->l4 + (udp ? offsetof(struct udphdr, check) : offsetof(struct tcphdr, check));
	/* A UDP checksum of 0 means none, and stays. One that becomes 0 is written as 0xffff (RFC 768). */
	__u64 flags = udp ? BPF_F_MARK_MANGLED_0 : 0;

	if (bpf_l4_csum_replace(pkt->ctx, field, 0, flow->addr_delta, BPF_F_PSEUDO_HDR | flags))
		return false;
	if (family == SLB_IP6)
		bpf_csum_update(pkt->ctx, flow->addr_delta);
	return !flow->port_delta || !bpf_l4_csum_replace(pkt->ctx, field, 0, flow->port_delta, flags);
}

/* In XDP, where all checksums are complete. */
static __always_inline __must_check bool rewrite_csum_bytes(struct pkt *pkt, const struct slb_flow *flow)
{
	bool udp = pkt->tuple->proto == IPPROTO_UDP;
	__u16 *check = parse_csum(pkt, pkt->l4, pkt->tuple->proto);

	if (!check)
		return false;
	if (udp && !*check)
		return true;
	*check = csum_by_diff(*check, csum_add(flow->addr_delta, flow->port_delta));
	if (udp && !*check)
		*check = 0xffff;
	return true;
}

static __always_inline __must_check bool rewrite_ports(struct pkt *pkt, const struct slb_flow *flow,
						       const enum slb_hook hook, const enum slb_family family)
{
	__be16 *ports = at(pkt, pkt->l4, 2 * sizeof(*ports));

	if (!ports)
		return false;
	ports[0] = flow->sport;
	ports[1] = flow->dport;
	return hook_has_skb(hook) ? rewrite_csum_skb(pkt, flow, family) : rewrite_csum_bytes(pkt, flow);
}

/* The CRC32c covers the ports, not the addresses. A partial one is 0 and stays 0; skb->csum (CHECKSUM_COMPLETE) is kept
 * right, as above. A first fragment cannot be translated unless its ports stay (DROP_FRAGMENT): the change of the CRC
 * depends on the length of the whole packet. SCTP senders avoid IP fragmentation. */
static __always_inline __must_check enum slb_verdict
rewrite_sctp(struct pkt *pkt, const struct slb_flow *flow, const enum slb_hook hook, const enum slb_family family)
{
	struct sctp_header *sctp = at(pkt, pkt->l4, sizeof(*sctp));
	__u32 length = pkt->ip_len - (pkt->l4 - pkt->l3);
	__u32 before, after, checksum, grown;

	if (!sctp)
		return SLB_DROP_INTERNAL;
	before = *(__u32 *)sctp;
	sctp->source = flow->sport;
	sctp->dest = flow->dport;
	after = *(__u32 *)sctp;
	if (before != after && pkt_first_fragment(pkt))
		return SLB_DROP_FRAGMENT;
	checksum = sctp->checksum;
	sctp->checksum = sctp_checksum(checksum, before, after, length);
	grown = csum_add(csum_add(flow->port_delta, sctp->checksum), ~checksum);
	if (hook_has_skb(hook))
		bpf_csum_update(pkt->ctx, family == SLB_IP6 ? csum_add(grown, flow->addr_delta) : grown);
	return SLB_CONTINUE;
}

/* CONTINUE when done; DROP_INTERNAL, or DROP_FRAGMENT for SCTP. A later fragment has an IP header alone: the transport
 * checksum is in the first one. */
static __always_inline __must_check enum slb_verdict rewrite(struct pkt *pkt, const struct slb_flow *flow,
							     const enum slb_hook hook, const enum slb_family family)
{
	if (!rewrite_ip(pkt, flow, family))
		return SLB_DROP_INTERNAL;
	if (pkt_later_fragment(pkt))
		return SLB_CONTINUE;
	if (pkt->tuple->proto == IPPROTO_SCTP)
		return rewrite_sctp(pkt, flow, hook, family);
	return rewrite_ports(pkt, flow, hook, family) ? SLB_CONTINUE : SLB_DROP_INTERNAL;
}
