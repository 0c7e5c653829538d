/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Configuration, read-only in .rodata.slb: constants to the verifier, which removes what is off as dead code. */
#pragma once
#include <linux/types.h>

struct slb_config {
	__u32 hz;		   /* jiffies per second, measured by the agent */
	__u32 tcp_syn_sec;	   /* lifetime of a half-open TCP flow */
	__u32 tcp_idle_sec;	   /* idle lifetime of an established one */
	__u32 tcp_half_closed_sec; /* after one end has sent FIN */
	__u32 tcp_closed_sec;	   /* after both, or after RST */
	__u32 udp_new_sec;	   /* lifetime of a half-open UDP flow */
	__u32 udp_idle_sec;	   /* idle lifetime of an established one */
	__u32 service_slots;	   /* rows of slb_services and its counters */
	__u32 backend_slots;	   /* rows of slb_backends and its counters */
	__u32 set_slots;	   /* rows of slb_sets */
	__u32 slot_rows;	   /* rows of slb_slots */
	__u32 maglev_rows;	   /* rows of slb_maglev, SLB_MAGLEV_PER_ROW positions each */
	__u32 masquerade_all;	   /* 1: SNAT all traffic to ClusterIPs */
	__u32 pod_ranges;    /* 1: sources in the POD ranges of slb_ranges are pods, by whichever device they come */
	__u32 snat_port_min; /* range of source ports for SNAT, where the client's own is taken */
	__u32 snat_port_max;
	__u64 netns;	      /* cookie of this host's network namespace; 0: the initial one */
	__u32 socket_refuse;  /* 1: the kernel has bpf_set_retval(): connect() can fail with ECONNREFUSED */
	__u32 socket_hooks;   /* 1: the cgroup hooks may be attached */
	__u32 unserved_ports; /* ports without a service at unassigned addresses, 0: pass, 1: reject, 2: drop */
	__u32 keep_local;     /* 1: no SNAT from external addresses to pods of this node */
};
