/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Token bucket for ICMP errors that a sender can cause as often as it likes. */
#pragma once
#include <linux/types.h>

struct slb_bucket {
	__u32 stamp;  /* jiffies, low 32 bits, of the last refill */
	__u32 credit; /* errors that may be sent, times jiffies per second */
};
