/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Whether a packet without a flow is for a service, and for which. */
#pragma once
#include <bpf/bpf_endian.h>
#include "../maps/frontends.h"
#include "../maps/services.h"
#include "pkt.h"

static __always_inline void frontend_key(struct slb_frontend_key *key, const struct pkt *pkt,
					 const enum slb_family family)
{
	*key = (struct slb_frontend_key){};
	if (family == SLB_IP4) {
		key->addr[2] = bpf_htonl(0xffff);
		key->addr[3] = pkt->tuple->daddr[0];
	} else {
		addr_copy(key->addr, pkt->tuple->daddr);
	}
}

/* The address row alone is asked first: it answers for most packets, which are for no service. */
static __always_inline bool lookup_address(const struct pkt *pkt, const enum slb_family family)
{
	struct slb_frontend_key key;

	frontend_key(&key, pkt, family);
	return frontend_get(&key);
}

static __always_inline __must_check enum slb_verdict lookup(const struct pkt *pkt, const struct slb_service **service,
							    const enum slb_family family)
{
	struct slb_frontend_key key;
	const struct slb_frontend *frontend;

	if (!lookup_address(pkt, family))
		return SLB_NOT_OURS;
	frontend_key(&key, pkt, family);
	key.port = pkt->tuple->dport;
	key.proto = pkt->tuple->proto;
	frontend = frontend_get(&key);
	if (!frontend)
		return SLB_NO_SUCH_PORT;
	*service = service_get(frontend->service);
	return *service ? SLB_CONTINUE : SLB_DROP_STALE;
}
