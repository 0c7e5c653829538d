/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Connections that netfilter tracks. The functions that look them up are kfuncs (since 5.18, where nf_conntrack is
 * loaded): the kernel may change or lack them, and before 5.16 it refuses a program that names one which it lacks, even
 * in code that is never run. So only the objects that define SLB_CONNTRACK have them; the agent loads these when
 * conntrack.bpf.o loads. */
#pragma once
#include <linux/bpf.h>
#include <linux/in.h>
#include <bpf/bpf_helpers.h>
#include "../lib/pkt.h"
#include "../lib/socktuple.h"
#include "../maps/draft.h"

#ifdef SLB_CONNTRACK

/* The kernel compares kinds of types, not what is in them. */
struct nf_conn {
	unsigned long status;
};

/* The first version of the kernel's struct, which later ones take as well. */
struct bpf_ct_opts {
	__s32 netns_id;
	__s32 error;
	__u8 l4proto;
	__u8 dir;
	__u8 reserved[2];
};

enum { CONNTRACK_REPLY = 1 }; /* dir: IP_CT_DIR_REPLY */

extern struct nf_conn *bpf_skb_ct_lookup(struct __sk_buff *skb, struct bpf_sock_tuple *tuple, __u32 tuple__sz,
					 struct bpf_ct_opts *opts, __u32 opts__sz) __ksym;
extern struct nf_conn *bpf_xdp_ct_lookup(struct xdp_md *xdp, struct bpf_sock_tuple *tuple, __u32 tuple__sz,
					 struct bpf_ct_opts *opts, __u32 opts__sz) __ksym;
extern void bpf_ct_release(struct nf_conn *found) __ksym;

static __always_inline __u32 conntrack_tuple(struct bpf_sock_tuple *tuple, const struct slb_draft *draft, __u32 family)
{
	return family == SLB_IP4 ? sock_tuple_of(tuple, &draft->tuple, SLB_IP4)
				 : sock_tuple_of(tuple, &draft->tuple, SLB_IP6);
}

/* Whether the packet whose tuple is in slb_draft is a reply of a tracked connection. Only the zone that is netfilter's
 * default is looked at. */
static __always_inline int conntrack_lookup(void *ctx, const bool has_skb, __u32 family)
{
	const struct slb_draft *draft = draft_get();
	struct bpf_ct_opts opts = {.netns_id = BPF_F_CURRENT_NETNS};
	struct bpf_sock_tuple tuple = {};
	struct nf_conn *found;
	__u32 size;

	if (!draft)
		return 0;
	opts.l4proto = draft->tuple.proto;
	size = conntrack_tuple(&tuple, draft, family);
	found = has_skb ? bpf_skb_ct_lookup(ctx, &tuple, size, &opts, sizeof(opts))
			: bpf_xdp_ct_lookup(ctx, &tuple, size, &opts, sizeof(opts));
	if (!found)
		return 0;
	bpf_ct_release(found);
	return opts.dir == CONNTRACK_REPLY;
}

/* Functions of their own, for their stack; two, because the verifier checks the type of a context. */
__noinline int slb_ct_skb(struct __sk_buff *skb, __u32 family)
{
	return conntrack_lookup(skb, true, family);
}

__noinline int slb_ct_xdp(struct xdp_md *xdp, __u32 family)
{
	return conntrack_lookup(xdp, false, family);
}

/* Whether the packet is a reply of a connection that netfilter tracks, and perhaps masquerades. kfuncs know no SCTP. */
static __always_inline bool conntrack_is_reply(const struct pkt *pkt, const enum slb_hook hook,
					       const enum slb_family family)
{
	if (pkt->tuple->proto == IPPROTO_SCTP || !draft_set_tuple(pkt->tuple))
		return false;
	return hook_has_skb(hook) ? slb_ct_skb(pkt->ctx, family) : slb_ct_xdp(pkt->ctx, family);
}

#else

static __always_inline bool conntrack_is_reply(const struct pkt *pkt, const enum slb_hook hook,
					       const enum slb_family family)
{
	(void)pkt, (void)hook, (void)family;
	return false;
}

#endif
