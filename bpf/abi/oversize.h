/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* IPv4 packets that exceed the MTU of their route and are given to the stack, which fragments them. The key, a struct
 * slb_flow_key4, is the tuple of the fragments at egress; the value is the source to write there. */
#pragma once
#include <linux/types.h>

struct slb_oversize {
	__be32 saddr;
	__be16 sport;
	__u8 pad[2];
	__u32 seen; /* jiffies, low 32 bits, of the last packet */
};
