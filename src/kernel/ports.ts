// Whether the kernel may choose a NodePort as the source port of an outgoing connection. The data path tells replies to
// it from requests to the Service, except for connections older than the NodePort; see docs/operations.md.
import type { Found } from './mounts.ts';
import type { System } from './system.ts';

interface PortRange {
  readonly min: number;
  readonly max: number;
}

/** The default of --service-node-port-range: the agent does not know the flags of the API server. */
const nodePorts: PortRange = { min: 30_000, max: 32_767 };

const folder = '/proc/sys/net/ipv4/'; // of both families

export function findPorts(system: System): Found {
  const [min, max] = (system.readText(`${folder}ip_local_port_range`) ?? '').trim().split(/\s+/).map(Number);
  if (!min || !max) return { ok: true, detail: 'not known' };
  const reserved = (system.readText(`${folder}ip_local_reserved_ports`) ?? '')
    .trim()
    .split(',')
    .filter((text) => text !== '')
    .map((text): PortRange => {
      const [first = NaN, last = first] = text.split('-').map(Number);
      return { min: first, max: last };
    });
  const free = without({ min: Math.max(min, nodePorts.min), max: Math.min(max, nodePorts.max) }, reserved);
  if (free.length === 0) return { ok: true, detail: 'the kernel does not use 30000-32767' };
  const text = free.map((range) => `${String(range.min)}-${String(range.max)}`).join(',');
  const advice = `add ${text} to net.ipv4.ip_local_reserved_ports`;
  return { ok: false, detail: `the kernel may use NodePorts as source ports: ${advice}` };
}

/** The rest of a range without `taken`; [] for an empty range. */
function without(range: PortRange, taken: readonly PortRange[]): readonly PortRange[] {
  return taken.reduce<readonly PortRange[]>(
    (left, { min, max }) =>
      left.flatMap((part) => [
        ...(part.min < min ? [{ min: part.min, max: Math.min(part.max, min - 1) }] : []),
        ...(part.max > max ? [{ min: Math.max(part.min, max + 1), max: part.max }] : []),
      ]),
    range.min <= range.max ? [range] : [],
  );
}
