/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Later fragments follow the first one (S-85), whose ports are stored until the datagram must be complete. The ports of
 * every first fragment are stored, also of one that is to no service: another hook may translate it, and its later
 * fragments must not look as if they had overtaken it. */
#pragma once
#include "../lib/addr.h"
#include "../lib/clock.h"
#include "../lib/pkt.h"
#include "../maps/draft.h"
#include "../maps/fragments.h"

#define FRAGMENT_SEC 30 /* net.ipv4.ipfrag_time; ids can be reused afterwards */

static __always_inline void fragment_key(struct slb_fragment_key *key, const struct slb_flow_key6 *tuple, __u32 id)
{
	*key = (struct slb_fragment_key){.id = id, .proto = tuple->proto};
	addr_copy(key->saddr, tuple->saddr);
	addr_copy(key->daddr, tuple->daddr);
}

/* Stores the ports of the first fragment whose tuple is in slb_draft. Global functions: inlined, they would leave stack
 * slots in different states, and the verifier would walk all later stages once for each. */
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

/* Puts the ports into the tuple in slb_draft, which is that of a later fragment. */
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

/* Sends later fragments by the stack, like the first one with the tuple in slb_draft: the stack may reassemble them. */
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

/* Completes the tuple of a later fragment; false when its first one was not seen. */
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
