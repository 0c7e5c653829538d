/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Maglev hashing: from the hash of a packet to a position in a backend set. All nodes compute the same from the same
 * packet, seed and set, so a connection whose flow is lost, or that moves to another node, finds its backend again. */
#pragma once
#include "../lib/addr.h"
#include "../lib/pkt.h"
#include "../maps/seed.h"
#include "../maps/services.h"

/* MurmurHash3 (32 bits): one word, and the finalizer. */
static __always_inline __u32 hash_word(__u32 hash, __u32 word)
{
	word *= 0xcc9e2d51;
	word = (word << 15) | (word >> 17);
	hash ^= word * 0x1b873593;
	hash = (hash << 13) | (hash >> 19);
	return hash * 5 + 0xe6546b64;
}

static __always_inline __u32 hash_finish(__u32 hash)
{
	hash ^= hash >> 16;
	hash *= 0x85ebca6b;
	hash ^= hash >> 13;
	hash *= 0xc2b2ae35;
	return hash ^ (hash >> 16);
}

static __always_inline __u32 hash_addrs(const struct slb_flow_key6 *tuple, const bool both,
					const enum slb_family family)
{
	__u32 hash = tuple->proto ^ seed_get();

#pragma unroll
	for (__u32 i = 0; i < 4; i++) {
		if (i >= addr_words(family))
			break;
		hash = hash_word(hash, tuple->saddr[i]);
		if (both)
			hash = hash_word(hash, tuple->daddr[i]);
	}
	return hash;
}

/* Of the 5-tuple: connections of one client spread over the backends. */
static __always_inline __u32 maglev_hash(const struct slb_flow_key6 *tuple, const enum slb_family family)
{
	return hash_finish(hash_word(hash_addrs(tuple, true, family), (__u32)tuple->sport << 16 | tuple->dport));
}

/* Of the client's address alone, for services with affinity. */
static __always_inline __u32 maglev_hash_client(const struct slb_flow_key6 *tuple, const enum slb_family family)
{
	return hash_finish(hash_addrs(tuple, false, family));
}

/* NULL while the agent replaces the set. */
static __always_inline const __u16 *maglev_pick(const struct slb_set *set, __u32 hash)
{
	__u32 size = set->maglev_size;

	return size ? maglev_get(set->maglev + hash % size) : NULL;
}
