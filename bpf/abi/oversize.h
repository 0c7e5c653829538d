/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* IPv4 packets that were too large for their way and have been given to the stack, which fragments them: the key, a
 * struct slb_flow_key4, is such a packet where the stack sends it, the value the source to write over it there. */
#pragma once
#include <linux/types.h>

struct slb_oversize {
	__be32 saddr;
	__be16 sport;
	__u8 pad[2];
	__u32 seen; /* jiffies, low 32 bits, of the last packet given to the stack */
};
