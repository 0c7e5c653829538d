/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Counters besides the verdicts: index of slb_counters, label of the metric, and text. X(NAME, "help") */
#pragma once

/* clang-format off */
#define SLB_COUNTERS(X)                                                                                                \
	X(SNAT_PORT_TAKEN, "source port that another connection to the same backend has")                              \
	X(AFFINITY_KEPT, "new connection sent to the backend of the client's last one")                                \
	X(AFFINITY_NEW, "new connection of a client without an affinity entry, or with an expired one")                \
	X(AFFINITY_MOVED, "new connection of a client whose last backend may not receive any")                         \
	X(FRAGMENT_COPIED, "fragment that arrived before its first one, perhaps of no flow: passed on and copied")     \
	X(FRAGMENT_RELEASED, "queued fragment, injected again behind its first one")                                   \
	X(STRAY_END, "FIN, RST or SCTP ABORT that its receiver must ignore: forwarded, the flow stays")                \
	X(FLOW_REVIVED, "flow with packets after a RST that seemed to end it")                                         \
	X(SNAT_PORT_REUSED, "source port of a connection that both ends have closed, given to a new one")
/* clang-format on */

enum slb_counter {
#define SLB_COUNTER_VALUE(name, help) SLB_COUNTER_##name,
	SLB_COUNTERS(SLB_COUNTER_VALUE)
#undef SLB_COUNTER_VALUE
		SLB_COUNTER_COUNT,
	SLB_COUNTER_MAX = 32, /* rows: fixed, so that a new event does not change the layout of a pinned map */
};

_Static_assert(SLB_COUNTER_COUNT <= SLB_COUNTER_MAX, "raise SLB_COUNTER_MAX");
