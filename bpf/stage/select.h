/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Selects the backend of a new connection. */
#pragma once
#include "../maps/affinity.h"
#include "../maps/backends.h"
#include "../maps/counters.h"
#include "../maps/services.h"
#include "../lib/clock.h"
#include "maglev.h"
#include "../lib/addr.h"
#include "policy.h"

static __always_inline __must_check enum slb_verdict select_by_hash(const struct slb_set *set, __u32 hash,
								    const struct slb_backend **backend)
{
	const __u16 *position = maglev_pick(set, hash);
	const __u32 *id;

	if (!position || *position >= set->count)
		return SLB_DROP_STALE;
	id = slot_get(set->slots + *position);
	if (!id)
		return SLB_DROP_STALE;
	*backend = backend_get(*id);
	return *backend ? SLB_CONTINUE : SLB_DROP_STALE;
}

/* The last backend of the client, if it is still in this list (S-79); else NULL. */
static __always_inline const struct slb_backend *select_kept(const struct slb_affinity *entry, __u8 list)
{
	const struct slb_backend *backend = backend_get(entry->backend);

	return backend && backend->lists & list ? backend : NULL;
}

/* Session affinity. Each new connection restarts the timeout (S-78). A client without an entry is hashed by its address
 * alone, so that all nodes select the same backend; one whose entry has expired by its 5-tuple. */
static __always_inline __must_check enum slb_verdict
select_affine(const struct pkt *pkt, const struct slb_service *service, const struct slb_set *set, __u8 list, __u32 now,
	      const struct slb_backend **backend, const enum slb_family family)
{
	struct slb_affinity_key key = {.service = service->id};
	struct slb_affinity *entry, record = {.seen = now};
	enum slb_verdict verdict;
	bool fresh;

	addr_map(key.client, pkt->tuple->saddr, family);
	entry = affinity_get(&key);
	fresh = entry && !clock_passed(entry->seen, now, service->affinity_sec);
	if (fresh) {
		*backend = select_kept(entry, list);
		if (*backend) {
			entry->seen = now;
			counter_inc(SLB_COUNTER_AFFINITY_KEPT);
			return SLB_CONTINUE;
		}
	}
	verdict = select_by_hash(set, entry ? maglev_hash(pkt->tuple, family) : maglev_hash_client(pkt->tuple, family),
				 backend);
	if (verdict != SLB_CONTINUE)
		return verdict;
	record.backend = (*backend)->id;
	affinity_put(&key, &record);
	counter_inc(fresh ? SLB_COUNTER_AFFINITY_MOVED : SLB_COUNTER_AFFINITY_NEW);
	return SLB_CONTINUE;
}

/* CONTINUE with a backend. Without one (S-43): DROP_NO_LOCAL when there are endpoints elsewhere, REFUSED_UNREACHABLE,
 * for the caller to answer, when there are none; DROP_STALE while the agent replaces the set. */
static __always_inline __must_check enum slb_verdict select_backend(const struct pkt *pkt,
								    const struct slb_service *service, __u8 list,
								    __u32 now, const struct slb_backend **backend,
								    const enum slb_family family)
{
	const struct slb_set *set = set_get(list == SLB_LIST_LOCAL ? service->local_set : service->cluster_set);

	if (!set)
		return SLB_DROP_STALE;
	if (!set->count)
		return service->flags & SLB_SVC_ANY_ENDPOINT ? SLB_DROP_NO_LOCAL : SLB_REFUSED_UNREACHABLE;
	if (service->affinity_sec)
		return select_affine(pkt, service, set, list, now, backend, family);
	return select_by_hash(set, maglev_hash(pkt->tuple, family), backend);
}
