/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What happened to packets besides how they ended, once: counter index, metric label, text. X(NAME, "help") */
#pragma once

/* clang-format off */
#define SLB_COUNTERS(X)                                                                                                  \
	X(SNAT_PORT_TAKEN, "a source port that another connection to the same backend has")                            \
	X(AFFINITY_KEPT, "new connection sent where the client's last one went")                                       \
	X(AFFINITY_NEW, "new connection of a client that had no backend, or whose time was up")                        \
	X(AFFINITY_MOVED, "new connection of a client whose backend may not receive it any more")                      \
	X(FRAGMENT_COPIED, "fragment that came before its first one and may belong to no flow: passed on, and copied") \
	X(FRAGMENT_RELEASED, "fragment that had waited for its first one, sent round once more")                       \
	X(STRAY_END, "FIN, RST or SCTP ABORT that its receiver cannot believe: sent on, the flow lives on")            \
	X(FLOW_REVIVED, "flow that went on after a RST that had seemed to end it")                                     \
	X(SNAT_PORT_REUSED, "source port taken over from a connection that both ends have closed")
/* clang-format on */

enum slb_counter {
#define SLB_COUNTER_VALUE(name, help) SLB_COUNTER_##name,
	SLB_COUNTERS(SLB_COUNTER_VALUE)
#undef SLB_COUNTER_VALUE
		SLB_COUNTER_COUNT,
	SLB_COUNTER_MAX = 32, /* rows: fixed, so that a new event does not change the layout of a pinned map */
};

_Static_assert(SLB_COUNTER_COUNT <= SLB_COUNTER_MAX, "raise SLB_COUNTER_MAX");
