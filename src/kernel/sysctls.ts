// Sysctls of lo that connections of this host to Services need. Their replies are injected at lo: the source is the
// Service address, which may be a local one (accept_local), the destination may be 127.0.0.1 (route_localnet). No other
// device is changed, and packets from outside do not come in by lo.
import { readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { messageOf, SluiceError } from '../errors.ts';
import { makeBpffsFolder } from './mounts.ts';

const folder = '/proc/sys/net/ipv4/conf/lo';
const names = ['accept_local', 'route_localnet'] as const;
const wanted = '1';

/** Old values of sysctls, one folder NAME-VALUE each. */
export function savedFolder(bpffs: string): string {
  return join(bpffs, 'saved');
}

/**
 * Returns an SLB_E_SYSCTL error for each that could not be set: connections of this host to loopback NodePorts fail
 * then.
 */
export function prepareLoopback(bpffs: string, sysctls = folder): readonly SluiceError[] {
  return names.flatMap(
    (name) => setSysctl(join(sysctls, name), wanted, (before) => remember(bpffs, name, before)) ?? [],
  );
}

/**
 * Calls `leaving` with the old value before it writes another. Returns an SLB_E_SYSCTL error, undefined for success.
 */
export function setSysctl(
  path: string,
  value: string,
  leaving?: (before: string) => void,
): SluiceError | undefined {
  try {
    const before = readFileSync(path, 'utf8').trim();
    if (before === value) return undefined;
    leaving?.(before);
    writeFileSync(path, value);
    return undefined;
  } catch (error) {
    return new SluiceError('SLB_E_SYSCTL', messageOf(error), { cause: error });
  }
}

/** Restores the old values. Returns them as sysctl(8) writes them: "net.ipv4.conf.lo.accept_local = 0". */
export function restoreLoopback(bpffs: string, sysctls = folder): readonly string[] {
  const saved = readSaved(bpffs);
  return saved.map(({ marker, name, before }) => {
    writeFileSync(join(sysctls, name), before);
    rmdirSync(marker);
    return `net.ipv4.conf.lo.${name} = ${before}`;
  });
}

interface Saved {
  readonly marker: string;
  readonly name: string;
  readonly before: string;
}

/** On the BPF file system, since its folders last as long as the programs: until `sluice clean` or the next boot. */
function remember(bpffs: string, name: string, before: string): void {
  makeBpffsFolder(join(savedFolder(bpffs), `${name}-${before}`));
}

function readSaved(bpffs: string): Saved[] {
  let markers: string[];
  try {
    markers = readdirSync(savedFolder(bpffs));
  } catch {
    return [];
  }
  return markers.flatMap((text) => {
    const [name = '', before = ''] = text.split('-');
    const known = names.find((one) => one === name);
    return known === undefined ? [] : [{ marker: join(savedFolder(bpffs), text), name: known, before }];
  });
}
