// What the kernel must be told so that this host's own packets may go the way of all others: replies to it are injected at
// loopback, with the service's address as their source and perhaps 127.0.0.1 as their destination. Nothing but loopback is opened,
// and from there nothing of outside can come.
import { readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { messageOf, SluiceError } from '../errors.ts';
import { makeBpffsFolder } from './mounts.ts';

const folder = '/proc/sys/net/ipv4/conf/lo';
const names = ['accept_local', 'route_localnet'] as const;
const wanted = '1';

/** Settings of the kernel as they were before: one folder NAME-VALUE each. */
export function savedFolder(bpffs: string): string {
  return join(bpffs, 'saved');
}

/** Returns what could not be set, each as an error that says so. The agent goes on: only this host's own clients miss it. */
export function prepareLoopback(bpffs: string, sysctls = folder): readonly SluiceError[] {
  return names.flatMap(
    (name) => setSysctl(join(sysctls, name), wanted, (before) => remember(bpffs, name, before)) ?? [],
  );
}

/** Tells `leaving` the old value before it writes another; undefined when all went well. */
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

/** Puts back what was there before; says what, as sysctl(8) writes it: "net.ipv4.conf.lo.accept_local = 0". */
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

/** The BPF file system keeps folders, and keeps them exactly as long as the programs: until clean, or until the next boot. */
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
