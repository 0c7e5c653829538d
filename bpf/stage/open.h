/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* New connections: make the pair of entries and put it in the half-open table. */
#pragma once
#include <linux/errno.h>
#include "../abi/backend.h"
#include "flow.h"
#include "pkt.h"

/* What a request to this backend looks like. A backend that reaches itself must see another source, or it would answer
 * itself directly: the service address, which only Sluice answers for, so the client's port cannot clash there. */
static __always_inline void open_request(struct slb_flow *flow, const struct pkt *pkt,
					 const struct slb_backend *backend, __u32 now, const enum slb_hook hook,
					 const enum slb_family family)
{
	*flow = (struct slb_flow){
		.sport = pkt->tuple->sport,
		.dport = backend->port,
		.service = backend->service,
		.backend = backend->id,
		.seen = now,
		.flags = flow_hook_bit(hook),
		.created = now,
	};
	if (family == SLB_IP4)
		flow->daddr[0] = backend->addr[3];
	else
		addr_copy(flow->daddr, backend->addr);
	if (addr_equal(flow->daddr, pkt->tuple->saddr, family)) {
		flow->flags |= SLB_FLOW_BOUNCE;
		addr_copy(flow->saddr, pkt->tuple->daddr);
	} else {
		addr_copy(flow->saddr, pkt->tuple->saddr);
	}
	flow_deltas(flow, pkt->tuple, family);
}

/* Makes room for the reply entry. Another flow may hold its key: the same client port dialled two services that
 * share a backend. A living one keeps it, for its replies could not be told from ours. */
static __always_inline __must_check enum slb_verdict
open_claim(const struct slb_flow_key6 *key, const struct slb_flow *reply, __u32 now, const enum slb_family family)
{
	const struct slb_flow *holder = flow_get(SLB_TIER_ESTABLISHED, key, family);

	if (!holder)
		holder = flow_get(SLB_TIER_HALF, key, family);
	if (!holder)
		return SLB_CONTINUE;
	if (!flow_same(holder, reply, family) && !flow_closing(holder) && !flow_expired(holder, key->proto, now))
		return SLB_DROP_COLLISION;
	flow_delete(SLB_TIER_ESTABLISHED, key, family);
	flow_delete(SLB_TIER_HALF, key, family);
	return SLB_CONTINUE;
}

/* The reply goes in first: a request whose answer could not be translated must not be sent. Losing a race is well: the
 * other CPU has put an entry for the same packet, and hashed it to the same backend. */
static __always_inline __must_check enum slb_verdict open_flow(const struct pkt *pkt, const struct slb_flow *request,
							       __u32 now, const enum slb_family family)
{
	struct slb_flow_key6 key;
	struct slb_flow reply;
	enum slb_verdict verdict;
	long error;

	flow_partner_key(&key, request, pkt->tuple->proto);
	flow_partner(&reply, request, pkt->tuple);
	verdict = open_claim(&key, &reply, now, family);
	if (verdict != SLB_CONTINUE)
		return verdict;
	error = flow_put(SLB_TIER_HALF, &key, &reply, BPF_NOEXIST, family);
	if (error && error != -EEXIST)
		return SLB_DROP_TABLE_FULL;
	error = flow_put(SLB_TIER_HALF, pkt->tuple, request, BPF_NOEXIST, family);
	if (!error || error == -EEXIST)
		return SLB_CONTINUE;
	flow_delete(SLB_TIER_HALF, &key, family);
	return SLB_DROP_TABLE_FULL;
}
