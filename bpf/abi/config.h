/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Read-only configuration, frozen in .rodata.slb before load: what is off is removed by the verifier as dead code. */
#pragma once
#include <linux/types.h>

struct slb_config {
	__u32 hz;		   /* jiffies a second, measured by the agent */
	__u32 tcp_syn_sec;	   /* life of an unanswered TCP flow */
	__u32 tcp_idle_sec;	   /* idle life of an answered one */
	__u32 tcp_half_closed_sec; /* after one end has sent FIN */
	__u32 tcp_closed_sec;	   /* after both, or after RST */
	__u32 udp_new_sec;	   /* life of an unanswered UDP flow */
	__u32 udp_idle_sec;	   /* idle life of an answered one */
	__u32 service_slots;	   /* rows of slb_services and its counters */
	__u32 backend_slots;	   /* rows of slb_backends and its counters */
	__u32 set_slots;	   /* rows of slb_sets */
	__u32 slot_rows;	   /* rows of slb_slots */
	__u32 maglev_rows;	   /* rows of slb_maglev, SLB_MAGLEV_PER_ROW positions each */
	__u32 masquerade_all;	   /* 1: no backend sees a client's address at a cluster address */
	__u32 pod_ranges;    /* 1: sources in the POD ranges of slb_ranges are pods, whatever device they come by */
	__u32 snat_port_min; /* source ports given to masqueraded connections whose own is taken */
	__u32 snat_port_max;
	__u64 netns;	      /* cookie of this host's network namespace; 0: the initial one */
	__u32 socket_refuse;  /* 1: programs of sockets may say which error a system call ends with */
	__u32 socket_hooks;   /* 1: they may be at work */
	__u32 unserved_ports; /* 1: ports without a service at addresses that no device has are refused; 2: dropped */
	__u32 keep_local;     /* 1: clients of external addresses are not masqueraded to pods of this node */
};
