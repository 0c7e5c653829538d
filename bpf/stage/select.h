/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Which backend of a service receives a new connection. */
#pragma once
#include "../maps/backends.h"
#include "../maps/services.h"
#include "maglev.h"
#include "pkt.h"

static __always_inline bool service_has_backends(__u32 id)
{
	const struct slb_service *service = service_get(id);
	const struct slb_set *set = service ? set_get(service->set) : NULL;

	return set && set->count;
}

/* CONTINUE with a backend; DROP_NO_LOCAL or, for the caller to refuse, REFUSED_UNREACHABLE without. */
static __always_inline __must_check enum slb_verdict select_backend(const struct slb_service *service, __u32 hash,
								    const struct slb_backend **backend)
{
	const struct slb_set *set = set_get(service->set);
	const __u16 *position;
	const __u32 *id;

	if (!set)
		return SLB_DROP_STALE;
	if (!set->count)
		return service->flags & SLB_SVC_ANY_ENDPOINT ? SLB_DROP_NO_LOCAL : SLB_REFUSED_UNREACHABLE;
	position = maglev_pick(set, hash);
	if (!position || *position >= set->count)
		return SLB_DROP_STALE;
	id = slot_get(set->slots + *position);
	if (!id)
		return SLB_DROP_STALE;
	*backend = backend_get(*id);
	return *backend ? SLB_CONTINUE : SLB_DROP_STALE;
}
