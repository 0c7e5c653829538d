/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The fast path of established TCP and UDP, which are most packets: one bounds check, one look-up, rewrite, forward.
 * The pipeline takes over, with what was parsed and found here, all packets that are special, or that change more in
 * the tables than `ack`. */
#pragma once
#include <linux/if_packet.h>
#include "../lib/clock.h"
#include "../lib/count.h"
#include "forward.h"
#include "parse.h"
#include "rewrite.h"
#include "route.h"
#include "track.h"

/* At ingress frames may be for others (bridge.h). XDP and egress see none that are. */
static __always_inline bool fast_frame(const struct pkt *pkt, const enum slb_hook hook)
{
	struct __sk_buff *skb = pkt->ctx;

	if (!hook_is_ingress(hook))
		return true;
	asm volatile("" : "+r"(skb)); /* as in pkt_load() */
	return skb->pkt_type == PACKET_HOST;
}

/* Without options, extension headers and fragments. */
static __always_inline bool fast_ip(struct pkt *pkt, const void *header, const enum slb_family family)
{
	const struct iphdr *ip4 = header;
	const struct ipv6hdr *ip6 = header;

	if (family == SLB_IP4) {
		if (*(const __u8 *)header != 0x45 || ip4->frag_off & bpf_htons(IP4_MF | IP4_OFFSET))
			return false;
		pkt->tuple->proto = ip4->protocol;
		pkt->ip_len = bpf_ntohs(ip4->tot_len);
	} else {
		if (*(const __u8 *)header >> 4 != 6 || !ip6->payload_len) /* 0: BIG TCP */
			return false;
		pkt->tuple->proto = pkt->nexthdr = ip6->nexthdr;
		pkt->ip_len = bpf_ntohs(ip6->payload_len) + sizeof(*ip6);
	}
	return pkt->ip_len <= pkt->frame_len - pkt->l3;
}

static __always_inline bool fast_transport(struct pkt *pkt, const void *header)
{
	const struct tcphdr *tcp = header;
	const __u32 ip = pkt->l4 - pkt->l3;

	if (pkt->tuple->proto == IPPROTO_UDP)
		return pkt->ip_len >= ip + sizeof(struct udphdr);
	if (pkt->tuple->proto != IPPROTO_TCP || (const void *)(tcp + 1) > pkt->end || tcp->doff < 5)
		return false;
	pkt->tcp_flags = ((const __u8 *)header)[13];
	pkt->conn_oriented = 1;
	return pkt->ip_len >= ip + tcp->doff * 4;
}

static __always_inline void fast_tuple(struct slb_flow_key6 *tuple, const void *header, const void *transport,
				       const enum slb_family family)
{
	const struct iphdr *ip4 = header;
	const struct ipv6hdr *ip6 = header;
	const struct udphdr *udp = transport;

	tuple->sport = udp->source;
	tuple->dport = udp->dest;
	if (family == SLB_IP4) {
		tuple->saddr[0] = ip4->saddr;
		tuple->daddr[0] = ip4->daddr;
	} else {
		addr_copy(tuple->saddr, ip6->saddr.in6_u.u6_addr32);
		addr_copy(tuple->daddr, ip6->daddr.in6_u.u6_addr32);
	}
}

/* Reads what parse() would; false when the packet is not that plain. */
static __always_inline bool fast_parse(struct pkt *pkt, const enum slb_family family)
{
	const void *header = pkt->data + sizeof(struct ethhdr);
	const void *transport = header + (family == SLB_IP4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr));

	if (transport + sizeof(struct udphdr) > pkt->end)
		return false;
	pkt->family = family;
	pkt->l3 = sizeof(struct ethhdr);
	pkt->l4 = pkt->l3 + (family == SLB_IP4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr));
	if (!fast_ip(pkt, header, family) || !fast_transport(pkt, transport))
		return false;
	fast_tuple(pkt->tuple, header, transport, family);
	return true;
}

/* Whether packets of this flow change nothing that slb_note() or slb_promote() would: it is confirmed, does not end,
 * and has been stamped within the last second, which is less than any life. */
static __always_inline bool fast_plain(const struct pkt *pkt, const struct slb_flow *flow)
{
	const __u8 flags = SLB_FLOW_SEEN_REPLY | SLB_FLOW_ASSURED;

	if (pkt->conn_oriented && (pkt->tcp_flags & (TCP_FIN | TCP_SYN | TCP_RST | TCP_ACK)) != TCP_ACK)
		return false;
	if ((flow->flags & flags) != flags || flow->fin | flow->peer_fin | flow->rst)
		return false;
	if (clock_passed(flow->seen, clock_now(), 1))
		return false;
	return pkt->conn_oriented || !track_outdated(pkt, flow);
}

/* Finds the route, where one is needed. False for the pipeline: another kind of forwarding, or no route. */
static __always_inline bool fast_route(struct pkt *pkt, const struct slb_flow *flow, __u8 forward, struct route *route,
				       const enum slb_hook hook, const enum slb_family family)
{
	struct __sk_buff *skb = pkt->ctx;

	if (forward == SLB_FORWARD_STACK)
		return true;
	if (!hook_is_ingress(hook) || forward != SLB_FORWARD_FIB)
		return false;
	asm volatile("" : "+r"(skb)); /* as in pkt_load() */
	if (skb->vlan_present)
		return false;
	return forward_find(pkt, flow, route, true, hook, family) == SLB_CONTINUE;
}

static __always_inline __must_check enum slb_verdict fast_send(struct pkt *pkt, const struct slb_flow *flow,
							       __u8 forward, const struct route *route,
							       const enum slb_hook hook, const enum slb_family family)
{
	bool reply = flow->flags & SLB_FLOW_REPLY;
	enum slb_verdict verdict = SLB_CONTINUE;

	if (!rewrite_ip(pkt, flow, family) || !rewrite_ports(pkt, flow, hook, family))
		return SLB_DROP_INTERNAL;
	pkt->action = TC_NEXT;
	if (hook_is_ingress(hook) && forward == SLB_FORWARD_FIB)
		verdict = forward_route(pkt, route, hook, family);
	if (verdict != SLB_CONTINUE)
		return verdict;
	return reply ? SLB_REPLY : SLB_REQUEST;
}

/* CONTINUE: for the pipeline. */
static __always_inline __must_check enum slb_verdict fast_known(struct pkt *pkt, struct slb_flow *flow,
								const enum slb_hook hook, const enum slb_family family)
{
	const __u8 forward = flow->forward; /* once: another CPU may give the row to another connection */
	struct route route = {};

	if (!fast_plain(pkt, flow))
		return SLB_CONTINUE;
	if (!(flow->flags & flow_hook_bit(hook)))
		return SLB_OTHER_HOOK;
	if (!hook_has_skb(hook) &&
	    (flow->flags & SLB_FLOW_REPLY || forward != SLB_FORWARD_STACK || parse_csum_partial(pkt, family)))
		return SLB_LEFT_TO_TC;
	if (!fast_route(pkt, flow, forward, &route, hook, family))
		return SLB_CONTINUE;
	flow_account(pkt, flow);
	if (pkt->conn_oriented)
		track_learn(pkt, flow);
	return fast_send(pkt, flow, forward, &route, hook, family);
}

/* In a copy, of which the pipeline gets nothing where the packet is not that plain: what the compiler would otherwise
 * store before every branch. */
static __always_inline __must_check enum slb_verdict fast_family(struct pkt *pkt, const enum slb_hook hook,
								 const enum slb_family family)
{
	enum slb_verdict verdict = SLB_CONTINUE;
	struct pkt plain = *pkt;
	struct slb_flow *flow;

	if (!fast_parse(&plain, family))
		return SLB_CONTINUE;
	plain.plain = 1;
	flow = flow_established(plain.tuple, &plain.moves, family);
	if (flow)
		verdict = fast_known(&plain, flow, hook, family);
	else
		plain.unknown = 1;
	if (verdict == SLB_CONTINUE)
		parse_hide_bounds(&plain, hook);
	*pkt = plain;
	return verdict;
}

/* CONTINUE: for the pipeline, to which it hands over as parse() does. */
static __always_inline __must_check enum slb_verdict fast(struct pkt *pkt, const enum slb_hook hook)
{
	const struct ethhdr *eth = pkt->data;

	if ((const void *)(eth + 1) > pkt->end || !fast_frame(pkt, hook))
		return SLB_CONTINUE;
	if (eth->h_proto == bpf_htons(ETH_P_IP))
		return fast_family(pkt, hook, SLB_IP4);
	if (eth->h_proto == bpf_htons(ETH_P_IPV6))
		return fast_family(pkt, hook, SLB_IP6);
	return SLB_CONTINUE;
}
