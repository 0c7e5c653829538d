/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The agent overwrites these defaults before it loads the object, and the map is frozen: to the verifier they are
 * constants, and it removes what is switched off as dead code. */
#pragma once
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "../abi/config.h"

const volatile struct slb_config slb_config SEC(".rodata.slb") = {
	.hz = 250,
	.tcp_syn_sec = 60,
	.tcp_idle_sec = 86400,
	.tcp_half_closed_sec = 3600,
	.tcp_closed_sec = 10,
	.udp_new_sec = 30,
	.udp_idle_sec = 180,
	.service_slots = 16384,
	.backend_slots = 65536,
	.set_slots = 32768,
	.slot_rows = 262144,
	.maglev_rows = 2097152,
	.snat_port_min = 1024,
	.snat_port_max = 65535,
};
