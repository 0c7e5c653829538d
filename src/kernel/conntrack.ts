// Timeouts of netfilter's conntrack, which kube-proxy sets too (S-109a): they are for connections to other addresses
// than those of Services. Flows of Services have timeouts of their own, in slb_config.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { SluiceError } from '../errors.ts';
import { setSysctl } from './sysctls.ts';

const folder = '/proc/sys/net/netfilter';

export interface ConntrackTimeouts {
  readonly tcpEstablishedSec: number;
  readonly tcpCloseWaitSec: number;
}

/** Returns an SLB_E_SYSCTL error for each sysctl that could not be written. Without nf_conntrack there are none. */
export function prepareConntrack(timeouts: ConntrackTimeouts, sysctls = folder): readonly SluiceError[] {
  const wanted = {
    nf_conntrack_tcp_timeout_established: timeouts.tcpEstablishedSec,
    nf_conntrack_tcp_timeout_close_wait: timeouts.tcpCloseWaitSec,
  };
  return Object.entries(wanted).flatMap(([name, seconds]) => {
    const path = join(sysctls, name);
    return existsSync(path) ? (setSysctl(path, String(seconds)) ?? []) : [];
  });
}
