// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/* Never loaded: src/abi/layout.gen.ts is generated from its BTF. Structs are in BTF through the maps, enums only when a
 * variable has their type. */
#pragma clang diagnostic push
/* A hole would be bytes without a name, which writers do not zero, in keys too. */
#pragma clang diagnostic error "-Wpadded"
#include "abi/affinity.h"
#include "abi/backend.h"
#include "abi/bucket.h"
#include "abi/config.h"
#include "abi/device.h"
#include "abi/counter.h"
#include "abi/flow.h"
#include "abi/fragment.h"
#include "abi/frontend.h"
#include "abi/limits.h"
#include "abi/range.h"
#include "abi/service.h"
#include "abi/socket.h"
#include "abi/oversize.h"
#include "abi/stats.h"
#include "abi/verdict.h"
#pragma clang diagnostic pop
#include "maps/affinity.h"
#include "maps/backends.h"
#include "maps/bucket.h"
#include "maps/config.h"
#include "maps/devices.h"
#include "maps/counters.h"
#include "maps/flows.h"
#include "maps/fragments.h"
#include "maps/frontends.h"
#include "maps/fragqueue.h"
#include "maps/ranges.h"
#include "maps/icmpquote.h"
#include "maps/seed.h"
#include "maps/services.h"
#include "maps/sockets.h"
#include "maps/oversize.h"
#include "maps/stats.h"
#include "maps/verdicts.h"

enum slb_limits slb_abi_limits;
enum slb_family slb_abi_family;
enum slb_backend_lists slb_abi_backend_lists;
enum slb_device_role slb_abi_device_role;
enum slb_counter slb_abi_counter;
enum slb_address_flags slb_abi_address_flags;
enum slb_range_kind slb_abi_range_kind;
enum slb_socket_flags slb_abi_socket_flags;
enum slb_exemption slb_abi_exemption;
enum slb_forward slb_abi_forward;
enum slb_flow_flags slb_abi_flow_flags;
enum slb_frontend_kind slb_abi_frontend_kind;
enum slb_service_flags slb_abi_service_flags;
enum slb_verdict slb_abi_verdict;
enum slb_hook slb_abi_hook;

char _license[] SEC("license") = "GPL";
