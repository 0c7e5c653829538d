// Netfilter's own connection table, for connections that no Service is part of: administrators set its time-outs through their
// service proxy (S-109a), and expect a half-closed connection to be remembered for an hour. Our flows have their own.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { SluiceError } from '../errors.ts';
import { setSysctl } from './sysctls.ts';

const folder = '/proc/sys/net/netfilter';

export interface ConntrackTimeouts {
  readonly tcpEstablishedSec: number;
  readonly tcpCloseWaitSec: number;
}

/** What could not be set, each as an error that says so. Where netfilter tracks nothing there is nothing to set. */
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
