/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Every outcome of a packet, once: return value of the stages, counter index, metric label, text in the CLI.
 * Numbers are never reused. X(NAME, CLASS, "help") with CLASS one of PASS, SEND, REFUSE, DROP. */
#pragma once

/* clang-format off */
#define SLB_VERDICTS(X)                                                                                                \
	X(CONTINUE, PASS, "internal: the next stage decides")                                                          \
	X(NOT_IP, PASS, "neither IPv4 nor IPv6")                                                                       \
	X(NOT_OURS, PASS, "no service address and no flow of one")                                                     \
	X(OTHER_PROTOCOL, PASS, "a transport protocol that services do not have")                                      \
	X(OTHER_HOOK, PASS, "part of a flow that another hook rewrites")                                               \
	X(LEFT_TO_TC, PASS, "seen in XDP, handled by tc: unfinished checksum, reply, refusal, hairpin, fragment")      \
	X(NO_SUCH_PORT, PASS, "a service address, but no service on this port")                                        \
	X(REQUEST_NEW, SEND, "first packet of a connection, sent to the backend chosen for it")                        \
	X(REQUEST_RESUMED, SEND, "packet in mid-connection without a flow, sent to the backend its hash names")        \
	X(REQUEST, SEND, "client to backend")                                                                          \
	X(REPLY, SEND, "backend to client, service address put back")                                                  \
	X(REQUEST_HALF_OPEN, SEND, "REQUEST; the established table is full: the flow stays where a flood can evict it") \
	X(HAIRPIN, SEND, "between a backend and itself, sent back where it came from")                                 \
	X(ICMP_REQUEST, SEND, "ICMP error about a reply, translated for the backend")                                  \
	X(ICMP_REPLY, SEND, "ICMP error about a request, translated for the client")                                   \
	X(REFUSED_RST, REFUSE, "no endpoint: answered with TCP RST")                                                   \
	X(REFUSED_UNREACHABLE, REFUSE, "no endpoint: answered with ICMP port unreachable")                             \
	X(DROP_MALFORMED, DROP, "for a service address: header cut short, too long or contradicting itself")           \
	X(DROP_FRAGMENT, DROP, "fragment whose first one has not come by, or of SCTP whose ports would change")        \
	X(DROP_NO_FLOW, DROP, "TCP packet that can open no connection and belongs to none")                            \
	X(DROP_NO_LOCAL, DROP, "endpoints exist, but none that the traffic policy allows here")                        \
	X(DROP_COLLISION, DROP, "its reply could not be told from another flow's")                                     \
	X(DROP_TABLE_FULL, DROP, "no room for a new flow")                                                             \
	X(DROP_STALE, DROP, "a table row changed under the look-up")                                                   \
	X(DROP_INTERNAL, DROP, "a helper failed")                                                                      \
	X(OWN_ADDRESS, PASS, "a cluster address that this node has bound itself, as a DNS cache does")                 \
	X(REFUSED_PORT, REFUSE, "no service on this port of a cluster address, or one that no device has: answered as closed") \
	X(REFUSED_TOO_BIG, REFUSE, "larger than the way to the backend or back carries: answered with ICMP")           \
	X(DROP_SOURCE, DROP, "the service's source ranges do not allow this client")                                   \
	X(DROP_NO_PORT, DROP, "no free source port towards the backend")                                               \
	X(DROP_NO_ROUTE, DROP, "no way to the backend, or no address to send from")                                    \
	X(DROP_TTL, DROP, "REFUSED_TTL, but not answered: a later fragment, an ICMP error, or too many")               \
	X(FRAGMENT_HELD, SEND, "fragment that came before its datagram's first one, kept until that comes")            \
	X(FRAGMENTS_RELEASED, SEND, "first fragment, sent round once more with those that waited for it")              \
	X(SOCKET_NEW, SEND, "socket pointed at the backend chosen for its connection, or for its first datagram")      \
	X(SOCKET_KNOWN, SEND, "datagram of a socket to the backend that its earlier ones went to")                     \
	X(LEFT_TO_PACKETS, PASS, "seen at its socket, but the service, the socket or its pod wants the packet path")   \
	X(REFUSED_SOCKET, REFUSE, "no endpoint, or no service on this port: connect() ended with ECONNREFUSED")        \
	X(UNREADABLE, PASS, "header cut short, contradicting itself or too long, of a packet for no service address")  \
	X(HOST_SOCKET, PASS, "reply to a socket of this host, whose port is also a service's at this node's address")  \
	X(NO_FLOW, PASS, "SYN-ACK or RST without a flow to an address of this node: the stack knows its connection")   \
	X(FRAGMENTED, SEND, "made by the stack of a packet too large for its way: given the source that it was to have") \
	X(REFUSED_TTL, REFUSE, "its TTL or hop limit is used up: answered with ICMP time exceeded")                    \
	X(OTHER_HOST, PASS, "a frame for another host, or for many")                                                   \
	X(DROP_UNSERVED, DROP, "a service address that no device has, but no service on this port: --unserved-ports drop") \
	X(DROP_MARTIAN, DROP, "its source cannot be behind the device that it came in by: rp_filter, or an address of this node") \
	X(HOST_CONNTRACK, PASS, "reply of a connection in netfilter's conntrack, whose port is also a service's at this node's address")
/* clang-format on */

enum slb_verdict {
#define SLB_VERDICT_VALUE(name, class, help) SLB_##name,
	SLB_VERDICTS(SLB_VERDICT_VALUE)
#undef SLB_VERDICT_VALUE
		SLB_VERDICT_COUNT,
	/* Counters a hook: fixed, so that a new verdict does not change the layout of a pinned map. */
	SLB_VERDICT_MAX = 64,
};

_Static_assert(SLB_VERDICT_COUNT <= SLB_VERDICT_MAX, "raise SLB_VERDICT_MAX, and with it the name of slb_verdicts");

enum slb_hook {
	SLB_HOOK_TC_IN = 0,
	SLB_HOOK_TC_OUT = 1,
	SLB_HOOK_XDP = 2,
	SLB_HOOK_SOCK = 3, /* system calls of this node's processes, not packets */
	SLB_HOOK_MAX = 8,  /* fixed, as SLB_VERDICT_MAX is */
};
