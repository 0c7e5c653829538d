/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Later fragments follow the first (S-85): its ports are kept until the datagram must be complete. Every first fragment
 * leaves them, also one that is not ours: it may be a reply that another hook translates, and those that follow must be
 * told from those that came too early. */
#pragma once
#include "../maps/fragments.h"
#include "clock.h"
#include "pkt.h"

#define FRAGMENT_SEC 30 /* as long as Linux waits to reassemble IPv4; ids may be used again after it */

static __always_inline void fragment_key(struct slb_fragment_key *key, const struct pkt *pkt)
{
	*key = (struct slb_fragment_key){.id = pkt->fragment_id, .proto = pkt->tuple->proto};
	addr_copy(key->saddr, pkt->tuple->saddr);
	addr_copy(key->daddr, pkt->tuple->daddr);
}

static __always_inline void fragment_note(const struct pkt *pkt, __u32 now)
{
	struct slb_fragment fragment = {.sport = pkt->tuple->sport, .dport = pkt->tuple->dport, .seen = now};
	struct slb_fragment_key key;

	fragment_key(&key, pkt);
	fragment_put(&key, &fragment);
}

/* Completes the tuple of a later fragment; false when its first one has not come by. */
static __always_inline __must_check bool fragment_find(struct pkt *pkt, __u32 now)
{
	const struct slb_fragment *fragment;
	struct slb_fragment_key key;

	fragment_key(&key, pkt);
	fragment = fragment_get(&key);
	if (!fragment || clock_passed(fragment->seen, now, FRAGMENT_SEC))
		return false;
	pkt->tuple->sport = fragment->sport;
	pkt->tuple->dport = fragment->dport;
	pkt->split = fragment->split;
	return true;
}

/* Lets the later fragments go the way of this first one, by the stack: it may put them together before it sends them
 * on. */
static __always_inline void fragment_split(const struct pkt *pkt)
{
	struct slb_fragment *fragment;
	struct slb_fragment_key key;

	fragment_key(&key, pkt);
	fragment = fragment_get(&key);
	if (fragment)
		fragment->split = 1;
}
