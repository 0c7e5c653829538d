/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Policies of a service for a client: whether it is admitted, which endpoints it may reach, and whether with SNAT. */
#pragma once
#include "../abi/backend.h"
#include "../maps/config.h"
#include "client.h"
#include "lookup.h"

struct policy {
	__u8 list;	 /* enum slb_backend_lists */
	bool masquerade; /* SNAT, so that replies come back through this node */
};

/* loadBalancerSourceRanges (S-61), and deny-source-ranges, which applies to all frontends but the ClusterIP. Checked
 * before endpoints, so that a client that is not admitted learns nothing of them (S-47). */
static __always_inline bool policy_admits(const struct pkt *pkt, const struct target *target,
					  const enum slb_family family)
{
	__u32 flags = target->service->flags, id = target->service->id;

	if (target->kind == SLB_KIND_CLUSTER_IP)
		return true;
	if (flags & SLB_SVC_DENY && client_in_range(pkt, SLB_RANGE_DENY, id, family))
		return false;
	return target->kind != SLB_KIND_LOAD_BALANCER || !(flags & SLB_SVC_ALLOW) ||
	       client_in_range(pkt, SLB_RANGE_ALLOW, id, family);
}

/* Traffic policies (S-39, S-40, S-63 … S-65). With externalTrafficPolicy: Local, pods and processes of this node reach
 * all endpoints, as if they had left the cluster and come back (kube-proxy does the same). */
static __always_inline struct policy policy_of(const struct target *target, enum client client)
{
	__u32 flags = target->service->flags;

	if (target->kind == SLB_KIND_CLUSTER_IP)
		return (struct policy){
			.list = flags & SLB_SVC_INTERNAL_LOCAL ? SLB_LIST_LOCAL : SLB_LIST_CLUSTER,
			.masquerade = slb_config.masquerade_all || client == CLIENT_OUTSIDE,
		};
	if (!(flags & SLB_SVC_EXTERNAL_LOCAL))
		return (struct policy){.list = SLB_LIST_CLUSTER, .masquerade = true};
	return (struct policy){
		.list = client == CLIENT_POD || client == CLIENT_HOST ? SLB_LIST_CLUSTER : SLB_LIST_LOCAL,
	};
}
