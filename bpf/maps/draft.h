/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The pair of flow entries that a program is about to put: on the stack it would take a third of the 512 bytes. Global
 * functions find in it the tuple of the packet that they work for. */
#pragma once
#include "../abi/flow.h"
#include "onerow.h"

struct slb_draft {
	struct slb_flow flow;
	struct slb_flow peer;	      /* the other direction */
	struct slb_flow_key6 tuple;   /* of the packet: key of `flow` */
	struct slb_flow_key6 key;     /* of `peer` */
	struct slb_flow_key6 evicted; /* of the requests of a flow that is evicted */
};

ONE_ROW(PERCPU_ARRAY, slb_draft, struct slb_draft, draft_get)

/* Hands the tuple to the global functions. */
static __always_inline struct slb_draft *draft_set_tuple(const struct slb_flow_key6 *tuple)
{
	struct slb_draft *draft = draft_get();

	if (draft)
		draft->tuple = *tuple;
	return draft;
}
