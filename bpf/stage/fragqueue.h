/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Fragments that arrive before the first of their datagram (S-85). They are queued; when the first one arrives, it and
 * they are injected again at the device, in this order. At tc ingress only: later hooks see them in order.
 *
 * No lock: a fragment is queued before it looks for the ports of the first one, which stores its ports before it looks
 * for queued ones. So at least one of two CPUs sees the other's. If both do, only one deletes a row, and sends it.
 *
 * The loops are global functions, which the verifier walks once. They find the key of the datagram in slb_queue_key. */
#pragma once
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include "../lib/addr.h"
#include "../lib/pkt.h"
#include "../maps/counters.h"
#include "../maps/fragqueue.h"
#include "fragment.h"

static __always_inline void fragqueue_key(struct slb_queued_key *key, const struct pkt *pkt)
{
	*key = (struct slb_queued_key){.id = pkt->fragment_id, .proto = pkt->tuple->proto};
	addr_copy(key->saddr, pkt->tuple->saddr);
	addr_copy(key->daddr, pkt->tuple->daddr);
}

/* `len` if a row has room for it, else 0. The barriers make the compiler test the register that it returns, and only
 * for its upper bound: else the verifier does not see the bound. Callers test for the lower one by ETH_HLEN, because
 * verifiers before 5.12 do not learn from a test for 0 that a number is at least 1. */
static __always_inline __u64 fragqueue_bound(__u64 len)
{
	asm volatile("" : "+r"(len));
	if (len > sizeof(((struct slb_queued *)0)->frame))
		return 0;
	asm volatile("" : "+r"(len));
	return len;
}

/* Copies the frame as received. False when it is too long. */
static __always_inline __must_check bool fragqueue_copy(struct __sk_buff *skb, struct slb_queued *row, __u32 now)
{
	__u64 len = fragqueue_bound(skb->len);

	if (len < ETH_HLEN)
		return false;
	row->len = len;
	row->seen = now;
	return !bpf_skb_load_bytes(skb, 0, row->frame, len);
}

/* Queues the packet in the first free row of its datagram; 1 when there was one. It looks a row up before it puts one:
 * an LRU evicts another row also for a put that then fails with EEXIST. */
__noinline int slb_fragq_store(struct __sk_buff *skb, __u32 now)
{
	struct slb_queued_key *key = queue_key_get();
	struct slb_queued *draft = queue_row_get();
	const struct slb_queued *row;

	if (!key || !draft || !fragqueue_copy(skb, draft, now))
		return 0;
	for (__u32 i = 0; i < SLB_QUEUED_MAX; i++) {
		key->index = i;
		row = queued_get(key);
		if (row && !clock_passed(row->seen, now, FRAGMENT_SEC))
			continue;
		if (row)
			queued_delete(key); /* of an earlier datagram with this id */
		if (!queued_put(key, draft))
			return 1;
	}
	return 0;
}

/* Overwrites the packet with a queued frame and injects it at the device that received it. The row is deleted after it
 * was read: if that succeeds, no other CPU has sent it or overwritten it meanwhile. Metadata of the skb stay, so the
 * VLAN tag does, which all fragments of a datagram share. */
static __always_inline void fragqueue_send(struct __sk_buff *skb, const struct slb_queued_key *key, __u32 now)
{
	const struct slb_queued *row = queued_get(key);
	__u64 len;
	bool built;

	if (!row)
		return;
	len = fragqueue_bound(row->len);
	built = len >= ETH_HLEN && !clock_passed(row->seen, now, FRAGMENT_SEC) && !bpf_skb_change_tail(skb, len, 0) &&
		!bpf_skb_store_bytes(skb, 0, row->frame, len, BPF_F_RECOMPUTE_CSUM | BPF_F_INVALIDATE_HASH);
	if (queued_delete(key) || !built)
		return;
	if (!bpf_clone_redirect(skb, skb->ifindex, BPF_F_INGRESS))
		counter_inc(SLB_COUNTER_FRAGMENT_RELEASED);
}

/* Deletes all rows of the datagram. With `send` it injects them, and the packet is overwritten. */
__noinline int slb_fragq_flush(struct __sk_buff *skb, __u32 now, __u32 send)
{
	struct slb_queued_key *key = queue_key_get();

	if (!key)
		return 0;
	for (__u32 i = 0; i < SLB_QUEUED_MAX; i++) {
		key->index = i;
		if (send)
			fragqueue_send(skb, key, now);
		else
			queued_delete(key);
	}
	return 0;
}

/* Sets the key for the functions above. */
static __always_inline __must_check const struct slb_queued_key *fragqueue_set_key(const struct pkt *pkt)
{
	struct slb_queued_key *key = queue_key_get();

	if (key)
		fragqueue_key(key, pkt);
	return key;
}

static __always_inline bool fragqueue_has(const struct pkt *pkt)
{
	const struct slb_queued_key *key = fragqueue_set_key(pkt);

	return key && queued_get(key);
}

/* A fragment whose first one was not seen. To an address that has a row it is held (FRAGMENT_HELD). Any other may be a
 * backend's reply, which only the ports would tell: it is passed on without delay, and a copy is queued (NOT_OURS). */
static __always_inline __must_check enum slb_verdict fragqueue_put(struct pkt *pkt, bool ours, __u32 now)
{
	if (!fragqueue_set_key(pkt) || !slb_fragq_store(pkt->ctx, now))
		return ours ? SLB_DROP_FRAGMENT : SLB_NOT_OURS;
	if (!ours) {
		counter_inc(SLB_COUNTER_FRAGMENT_COPIED);
		return SLB_NOT_OURS;
	}
	pkt->action = TC_ACT_SHOT;
	if (!fragment_find(pkt, now))
		return SLB_FRAGMENT_HELD;
	slb_fragq_flush(pkt->ctx, now, true);
	return SLB_FRAGMENTS_RELEASED;
}

/* A first fragment, with queued ones of its datagram. FRAGMENTS_RELEASED when all were injected. CONTINUE when the
 * datagram is not ours: its fragments have been passed on, and the copies are deleted. */
static __always_inline __must_check enum slb_verdict fragqueue_follow(struct pkt *pkt, bool ours, __u32 now)
{
	struct __sk_buff *skb = pkt->ctx;

	if (!fragqueue_set_key(pkt) || (ours && bpf_clone_redirect(skb, skb->ifindex, BPF_F_INGRESS)))
		return SLB_DROP_INTERNAL;
	slb_fragq_flush(skb, now, ours);
	pkt_load(pkt, SLB_HOOK_TC_IN);
	if (!ours)
		return SLB_CONTINUE;
	pkt->action = TC_ACT_SHOT;
	return SLB_FRAGMENTS_RELEASED;
}
