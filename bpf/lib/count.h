/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Counts a packet by its verdict, once, where the program ends. */
#pragma once
#include "../maps/stats.h"
#include "../maps/verdicts.h"
#include "pkt.h"

enum verdict_class { CLASS_PASS, CLASS_SEND, CLASS_REFUSE, CLASS_DROP };

static __always_inline enum verdict_class verdict_class(enum slb_verdict verdict)
{
#define VERDICT_CASE(name, class, help)                                                                                \
	case SLB_##name:                                                                                               \
		return CLASS_##class;
	switch (verdict) {
		SLB_VERDICTS(VERDICT_CASE)
	default:
		return CLASS_DROP;
	}
#undef VERDICT_CASE
}

static __always_inline void count_one(__u64 *counter, const enum slb_hook hook)
{
	if (hook == SLB_HOOK_SOCK)
		atomic_add(counter, 1);
	else
		*counter += 1;
}

static __always_inline void count_stats(struct slb_stats *stats, const struct pkt *pkt)
{
	if (!stats)
		return;
	stats->connections += pkt->opened;
	if (pkt->reply) {
		stats->packets_out++;
		stats->bytes_out += pkt->ip_len;
	} else {
		stats->packets_in++;
		stats->bytes_in += pkt->ip_len;
	}
}

/* At the socket hook connections and bytes are counted with the rows of the socket (socklb/socket.h). */
static __always_inline void count_service(const struct pkt *pkt, const enum slb_hook hook, enum verdict_class class)
{
	struct slb_stats *service;

	if (class == CLASS_SEND && hook != SLB_HOOK_SOCK) {
		count_stats(service_stats(pkt->service), pkt);
		count_stats(backend_stats(pkt->backend), pkt);
	} else if (class == CLASS_REFUSE || class == CLASS_DROP) {
		service = service_stats(pkt->service);
		if (service)
			count_one(&service->refused, hook);
	}
}

static __always_inline void count(const struct pkt *pkt, const enum slb_hook hook, enum slb_verdict verdict)
{
	__u64 *counter = verdict_counter(hook, verdict);

	if (counter)
		count_one(counter, hook);
	if (pkt->service)
		count_service(pkt, hook, verdict_class(verdict));
}
