/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What a hook can do. The hook is a constant in every stage. Macros and not functions: with one call more to inline,
 * clang 14 keeps more on the stack than the 512 bytes there are. */
#pragma once
#include "../abi/verdict.h"

/* The tc hooks. Only with an skb can a program answer in the place of the packet, finish a checksum that the stack has
 * begun (CHECKSUM_PARTIAL), redirect to a neighbour, or pop VLAN tags. XDP leaves what needs any of that to tc. */
#define hook_has_skb(hook) ((hook) != SLB_HOOK_XDP)

/* Packets that a device has received: their source may have to be checked, their TTL decremented, and their fragments
 * may come in any order. */
#define hook_is_ingress(hook) ((hook) == SLB_HOOK_TC_IN)

/* Packets that the stack sends. Of these only this host's own open connections. */
#define hook_is_egress(hook) ((hook) == SLB_HOOK_TC_OUT)
