// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/* tc.bpf.c for kernels where conntrack.bpf.c loads. */
#define SLB_CONNTRACK
#include "tc.bpf.c"
