/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Later fragments follow the first (S-85): its ports are kept until the datagram must be complete. Every first fragment
 * leaves them, also one that is not ours: it may be a reply that another hook translates, and those that follow must be
 * told from those that came too early. */
#pragma once
#include "../lib/addr.h"
#include "../lib/clock.h"
#include "../lib/pkt.h"
#include "../maps/draft.h"
#include "../maps/fragments.h"

#define FRAGMENT_SEC 30 /* as long as Linux waits to reassemble IPv4; ids may be used again after it */

static __always_inline void fragment_key(struct slb_fragment_key *key, const struct slb_flow_key6 *tuple, __u32 id)
{
	*key = (struct slb_fragment_key){.id = id, .proto = tuple->proto};
	addr_copy(key->saddr, tuple->saddr);
	addr_copy(key->daddr, tuple->daddr);
}

/* Keeps the ports of the tuple in slb_draft, a first fragment's. Functions of their own, which the verifier walks once:
 * else all that follows would be walked once more for what they leave on the stack. */
__noinline int slb_frag_store(__u32 now, __u32 id)
{
	const struct slb_draft *draft = draft_get();
	struct slb_fragment fragment = {.seen = now};
	struct slb_fragment_key key;

	if (!draft)
		return 0;
	fragment.sport = draft->tuple.sport;
	fragment.dport = draft->tuple.dport;
	fragment_key(&key, &draft->tuple, id);
	fragment_put(&key, &fragment);
	return 0;
}

enum { FRAGMENT_KNOWN, FRAGMENT_BY_STACK, FRAGMENT_UNKNOWN };

/* Puts the ports into the tuple in slb_draft, a later fragment's. */
__noinline int slb_frag_find(__u32 now, __u32 id)
{
	struct slb_draft *draft = draft_get();
	const struct slb_fragment *fragment;
	struct slb_fragment_key key;

	if (!draft)
		return FRAGMENT_UNKNOWN;
	fragment_key(&key, &draft->tuple, id);
	fragment = fragment_get(&key);
	if (!fragment || clock_passed(fragment->seen, now, FRAGMENT_SEC))
		return FRAGMENT_UNKNOWN;
	draft->tuple.sport = fragment->sport;
	draft->tuple.dport = fragment->dport;
	return fragment->by_stack ? FRAGMENT_BY_STACK : FRAGMENT_KNOWN;
}

/* Lets the later fragments go the way of the first one with the tuple in slb_draft, by the stack: it may put them
 * together before it sends them on. */
__noinline int slb_frag_stack(__u32 id)
{
	const struct slb_draft *draft = draft_get();
	struct slb_fragment *fragment;
	struct slb_fragment_key key;

	if (!draft)
		return 0;
	fragment_key(&key, &draft->tuple, id);
	fragment = fragment_get(&key);
	if (fragment)
		fragment->by_stack = 1;
	return 0;
}

static __always_inline void fragment_store(const struct pkt *pkt, __u32 now)
{
	if (draft_set_tuple(pkt->tuple))
		slb_frag_store(now, pkt->fragment_id);
}

/* Completes the tuple of a later fragment; false when its first one has not come by. */
static __always_inline __must_check bool fragment_find(struct pkt *pkt, __u32 now)
{
	const struct slb_draft *draft = draft_set_tuple(pkt->tuple);
	int found;

	if (!draft)
		return false;
	found = slb_frag_find(now, pkt->fragment_id);
	if (found == FRAGMENT_UNKNOWN)
		return false;
	pkt->tuple->sport = draft->tuple.sport;
	pkt->tuple->dport = draft->tuple.dport;
	pkt->by_stack = found;
	return true;
}

static __always_inline void fragment_by_stack(const struct pkt *pkt)
{
	if (draft_set_tuple(pkt->tuple))
		slb_frag_stack(pkt->fragment_id);
}
