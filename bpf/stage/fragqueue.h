/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Fragments that overtook the first of their datagram (S-85). They are stored, and when the first one comes, it and
 * they are put in again at the device, in this order: then they are ordinary fragments. At tc ingress only, where the
 * network can have reordered them; behind it they are in order.
 *
 * No lock: a fragment is stored first and then looks for the ports of the first one, which leaves its ports first and
 * then looks for stored ones. So at least one of them sees the other, and if both do, only one can delete a row and
 * send it.
 *
 * The loops are functions of their own, which the verifier walks once. Up to 5.11 it lets such functions have numbers
 * and the context as arguments only: the datagram is named by the key in slb_queue_row. */
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

/* A length that a row has room for, else 0, which is no frame's. The compiler must test the very number that it passes
 * on, and this end of it apart from the other: the verifier would not know. For the other end callers ask for the
 * header of a frame, for from a test for 0 verifiers up to 5.11 do not learn that a number is at least 1. */
static __always_inline __u64 fragqueue_bound(__u64 len)
{
	asm volatile("" : "+r"(len));
	if (len > sizeof(((struct slb_queued *)0)->frame))
		return 0;
	asm volatile("" : "+r"(len));
	return len;
}

/* The frame as it came. False when it is too long to be kept. */
static __always_inline __must_check bool fragqueue_copy(struct __sk_buff *skb, struct slb_queued *row, __u32 now)
{
	__u64 len = fragqueue_bound(skb->len);

	if (len < ETH_HLEN)
		return false;
	row->len = len;
	row->seen = now;
	return !bpf_skb_load_bytes(skb, 0, row->frame, len);
}

/* Stores the packet in the first free row of its datagram; 1 when there was one. Asks before it puts: putting what
 * turns out to be there would evict another row first. */
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

/* Turns the packet into a stored one and puts that in at the device it came by. The row is deleted after it was read:
 * that it was still there shows that no other CPU has sent it, and that it was not overwritten meanwhile. What the
 * kernel keeps beside the packet stays: fragments of a datagram have the same VLAN tag. */
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

/* Forgets all that is stored of the datagram, with `send` by sending it, which uses the packet up. */
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

/* Names the datagram to the functions above. */
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

/* A fragment whose first one is unknown. One for an address of ours is held. Any other may be a backend's reply, which
 * only the ports tell: it is passed on, so that what is not ours is not held up, and copied. */
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

/* A first fragment, with others that have come before it. CONTINUE when it may go on by itself: when the datagram is
 * not ours, its fragments have been passed on, and their copies are of no use. */
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
