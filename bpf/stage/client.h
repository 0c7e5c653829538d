/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Where a client is: traffic policies and SNAT treat pods of this node, this host and others differently (S-40,
 * S-63 … S-65, S-76). Decided by the input device of a packet, or the network namespace of a socket: a source address
 * can be forged. */
#pragma once
#include <linux/if_ether.h>
#include "../maps/config.h"
#include "../maps/devices.h"
#include "../maps/ranges.h"
#include "../lib/bounds.h"
#include "../lib/addr.h"
#include "../lib/pkt.h"

enum client {
	CLIENT_POD,	   /* of this node */
	CLIENT_HOST,	   /* a socket of this host */
	CLIENT_REMOTE_POD, /* of another node, by its address; only where ranges of pods are configured */
	CLIENT_OUTSIDE,
};

static __always_inline __u32 client_ifindex(const struct pkt *pkt, const enum slb_hook hook)
{
	const struct __sk_buff *skb = pkt->ctx;

	if (hook == SLB_HOOK_XDP)
		return ((const struct xdp_md *)pkt->ctx)->ingress_ifindex;
	asm volatile("" : "+r"(skb)); /* as in pkt_load() */
	return skb->ifindex;
}

static __always_inline bool client_in_range(const struct pkt *pkt, enum slb_range_kind kind, __u32 service,
					    const enum slb_family family)
{
	struct slb_range_key key = {
		.prefix_len = 8 * (sizeof(key) - sizeof(key.prefix_len)),
		.kind = kind,
		.service = service,
	};

	addr_map(key.addr, pkt->tuple->saddr, family);
	return range_has(&key);
}

/* Whether the frame is addressed to this device. */
static __always_inline bool client_frame_for(const struct pkt *pkt, const struct slb_device *device)
{
	const __u16 *to = at(pkt, 0, ETH_ALEN), *own;

	if (!device || !to)
		return false;
	own = (const __u16 *)device->mac;
	return !((to[0] ^ own[0]) | (to[1] ^ own[1]) | (to[2] ^ own[2]));
}

/* Whether a socket is in this host's network namespace. */
static __always_inline bool client_hosted(const struct pkt *pkt)
{
	__u64 host = slb_config.netns ? slb_config.netns : bpf_get_netns_cookie(NULL);

	return bpf_get_netns_cookie(pkt->ctx) == host;
}

/* At egress always CLIENT_HOST, because no other packet opens a connection there; see pipeline_may_open(). */
static __always_inline enum client client_of(const struct pkt *pkt, const enum slb_hook hook,
					     const enum slb_family family)
{
	const struct slb_device *device;

	if (hook == SLB_HOOK_SOCK)
		return client_hosted(pkt) ? CLIENT_HOST : CLIENT_POD;
	if (hook_is_egress(hook))
		return CLIENT_HOST;
	device = device_get(client_ifindex(pkt, hook));
	if (!device || device->role == SLB_DEV_POD)
		return CLIENT_POD;
	if (slb_config.pod_ranges && client_in_range(pkt, SLB_RANGE_POD, 0, family))
		return CLIENT_REMOTE_POD;
	return CLIENT_OUTSIDE;
}
