/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* How many ICMP errors may still be sent that a sender could ask for at will. */
#pragma once
#include <linux/types.h>

struct slb_bucket {
	__u32 stamp;  /* jiffies, low 32 bits, when it was looked at last */
	__u32 credit; /* errors, times jiffies a second */
};
