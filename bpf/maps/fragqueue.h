/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Fragments that arrived before the first of their datagram. 4 MiB at most: a flood of them evicts other such fragments
 * and nothing else. */
#pragma once
#include "../abi/fragment.h"
#include "onerow.h"

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 2048);
	__type(key, struct slb_queued_key);
	__type(value, struct slb_queued);
} slb_queued SEC(".maps");

/* The row that a program is about to put, and its key: a row is put whole, for other CPUs find it at once. */
ONE_ROW(PERCPU_ARRAY, slb_queue_row, struct slb_queued, queue_row_get)
ONE_ROW(PERCPU_ARRAY, slb_queue_key, struct slb_queued_key, queue_key_get)

static __always_inline const struct slb_queued *queued_get(const struct slb_queued_key *key)
{
	return bpf_map_lookup_elem(&slb_queued, key);
}

/* 0 when put; -EEXIST when the key has a row. */
static __always_inline long queued_put(const struct slb_queued_key *key, const struct slb_queued *row)
{
	return bpf_map_update_elem(&slb_queued, key, row, BPF_NOEXIST);
}

/* 0 for exactly one of several CPUs that delete the row: that one may send the fragment. */
static __always_inline long queued_delete(const struct slb_queued_key *key)
{
	return bpf_map_delete_elem(&slb_queued, key);
}
