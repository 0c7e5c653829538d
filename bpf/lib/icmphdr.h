/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The header that ICMP and ICMPv6 share. <linux/icmp.h> would include the C library's socket headers. */
#pragma once
#include <linux/types.h>

struct icmp_header {
	__u8 type;
	__u8 code;
	__u16 checksum;
	__be32 rest; /* next-hop MTU, pointer, or unused */
};

enum {
	ICMP4_UNREACHABLE = 3,
	ICMP4_UNREACHABLE_PORT = 3,
	ICMP4_UNREACHABLE_FRAGMENT = 4,
	ICMP4_TIME_EXCEEDED = 11,
	ICMP4_PARAMETER = 12,
	ICMP6_UNREACHABLE = 1,
	ICMP6_UNREACHABLE_PORT = 4,
	ICMP6_TOO_BIG = 2,
	ICMP6_TIME_EXCEEDED = 3,
	ICMP6_INFORMATIONAL = 128, /* first type that is not an error */
};
