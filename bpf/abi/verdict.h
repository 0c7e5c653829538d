/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Every outcome of a packet: return value of the stages, counter index, metric label, text in the CLI.
 * Numbers are never reused. X(NAME, CLASS, "help") with CLASS one of PASS, SEND, REFUSE, DROP. */
#pragma once

/* clang-format off */
#define SLB_VERDICTS(X)                                                                                                \
	X(CONTINUE, PASS, "internal: the next stage decides")                                                          \
	X(NOT_IP, PASS, "neither IPv4 nor IPv6")                                                                       \
	X(NOT_OURS, PASS, "neither to a service address nor of a known flow")                                          \
	X(OTHER_PROTOCOL, PASS, "neither TCP, UDP, SCTP nor an ICMP error")                                            \
	X(OTHER_HOOK, PASS, "of a flow that another hook rewrites")                                                    \
	X(LEFT_TO_TC, PASS, "seen in XDP and left to tc: partial checksum, reply, rejection, hairpin, fragment")       \
	X(NO_SUCH_PORT, PASS, "a service address, but no service on this port")                                        \
	X(REQUEST_NEW, SEND, "first packet of a connection, sent to the backend chosen for it")                        \
	X(REQUEST_RESUMED, SEND, "packet in mid-connection without a flow, sent to the backend that its hash selects") \
	X(REQUEST, SEND, "client to backend")                                                                          \
	X(REPLY, SEND, "backend to client, with the service address as its source")                                    \
	X(REQUEST_HALF_OPEN, SEND, "REQUEST; the established table is full: the flow stays where a flood can evict ")  \
	X(HAIRPIN, SEND, "from a backend to itself, sent back out of the device it came in by")                        \
	X(ICMP_REQUEST, SEND, "ICMP error about a reply, translated for the backend")                                  \
	X(ICMP_REPLY, SEND, "ICMP error about a request, translated for the client")                                   \
	X(REFUSED_RST, REFUSE, "no endpoint: answered with TCP RST")                                                   \
	X(REFUSED_UNREACHABLE, REFUSE, "no endpoint: answered with ICMP port unreachable")                             \
	X(DROP_MALFORMED, DROP, "to a service address: header cut short, too long or contradicting itself")            \
	X(DROP_FRAGMENT, DROP, "fragment whose first fragment was not seen, or of SCTP with ports to rewrite")         \
	X(DROP_NO_FLOW, DROP, "TCP or SCTP packet that opens no connection and belongs to none")                       \
	X(DROP_NO_LOCAL, DROP, "there are endpoints, but none that the traffic policy allows here")                    \
	X(DROP_COLLISION, DROP, "its reply would have the tuple of another flow")                                      \
	X(DROP_TABLE_FULL, DROP, "no room for a new flow")                                                             \
	X(DROP_STALE, DROP, "a table row changed during the look-up")                                                  \
	X(DROP_INTERNAL, DROP, "a helper failed")                                                                      \
	X(OWN_ADDRESS, PASS, "a ClusterIP that a device of this node has, as for a node-local DNS cache")              \
	X(REFUSED_PORT, REFUSE, "no service on this port of a ClusterIP or unassigned address: answered as closed")    \
	X(REFUSED_TOO_BIG, REFUSE, "exceeds the MTU of its route: answered with ICMP")                                 \
	X(DROP_SOURCE, DROP, "the service's source ranges do not allow this client")                                   \
	X(DROP_NO_PORT, DROP, "no free source port towards the backend")                                               \
	X(DROP_NO_ROUTE, DROP, "no route to the backend, or no address to send from")                                  \
	X(DROP_TTL, DROP, "REFUSED_TTL, but not answered: a later fragment, an ICMP error, or rate-limited")           \
	X(FRAGMENT_HELD, SEND, "fragment that arrived before the first of its datagram: queued")                       \
	X(FRAGMENTS_RELEASED, SEND, "first fragment, injected again with those that were queued for it")               \
	X(SOCKET_NEW, SEND, "socket pointed at the backend chosen for its connection or first datagram")               \
	X(SOCKET_KNOWN, SEND, "datagram of a socket, to the backend of its earlier ones")                              \
	X(LEFT_TO_PACKETS, PASS, "seen at its socket and left to the packet hooks, for its service, socket or pod")    \
	X(REFUSED_SOCKET, REFUSE, "no endpoint, or no service on this port: connect() ended with ECONNREFUSED")        \
	X(UNREADABLE, PASS, "not to a service address: header cut short, too long or contradicting itself")            \
	X(HOST_SOCKET, PASS, "reply to a socket of this host, on a port that a service has at the same address")       \
	X(NO_FLOW, PASS, "SYN-ACK or RST without a flow to an address of this node: left to the stack")                \
	X(FRAGMENTED, SEND, "fragment that the stack made of a packet above the MTU: source translated")               \
	X(REFUSED_TTL, REFUSE, "TTL or hop limit used up: answered with ICMP time exceeded")                           \
	X(OTHER_HOST, PASS, "frame to another host, or to many")                                                       \
	X(DROP_UNSERVED, DROP, "no service on this port of an unassigned address (--unserved-ports drop)")             \
	X(DROP_MARTIAN, DROP, "source not behind the device it came in by (rp_filter), or an own address")             \
	X(HOST_CONNTRACK, PASS, "reply of a connection that netfilter tracks, on a port that a service has, too")
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
	SLB_HOOK_SOCK = 3, /* system calls of this node's processes */
	SLB_HOOK_MAX = 8,  /* fixed, as SLB_VERDICT_MAX is */
};
