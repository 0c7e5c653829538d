// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/* Never attached: whether it loads tells whether this kernel lets programs look up connections of netfilter. */
#define SLB_CONNTRACK
#include "stage/conntrack.h"

SEC("tc")
int slb_ct_tc(struct __sk_buff *skb)
{
	return slb_ct_skb(skb, SLB_IP4) | slb_ct_skb(skb, SLB_IP6);
}

SEC("xdp")
int slb_ct_xdp_in(struct xdp_md *xdp)
{
	return slb_ct_xdp(xdp, SLB_IP4) | slb_ct_xdp(xdp, SLB_IP6);
}

/* The kernel knows few names; of the two licences it is this one that lets a program call every helper. */
char _license[] SEC("license") = "GPL";
