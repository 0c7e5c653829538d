// Other programs at the tc hooks of a device that run before ours: one that returns TC_ACT_OK hides the packet from
// ours.
import type { Native, TcDirection } from '../../native/index.ts';
import { hasEthernetHeader } from '../host/ethernet.ts';

type Kernel = Pick<Native, 'queryTcx' | 'listClsact' | 'devices'>;

/** How programs are attached: by tcx links, or below kernel 6.6 as filters of the clsact qdisc. */
export type TcKind = 'tcx' | 'clsact';

/** Fixed, so that the filter of an earlier agent is replaced. */
export const clsactFilter = { priority: 0x534c, handle: 0x42 } as const;

const ours = /^slb_/;
const directions: readonly TcDirection[] = ['ingress', 'egress'];

/** Names of the programs that run before ours; undefined when ours is not attached. */
function namesBefore(
  kernel: Kernel,
  kind: TcKind,
  ifindex: number,
  direction: TcDirection,
): readonly string[] | undefined {
  if (kind === 'tcx') {
    const names = kernel.queryTcx(ifindex, direction).map(({ id, name }) => name || `program ${String(id)}`);
    const own = names.findIndex((name) => ours.test(name));
    return own < 0 ? undefined : names.slice(0, own);
  }
  const filters = kernel.listClsact(ifindex, direction);
  if (!filters.some(({ priority, name }) => priority === clsactFilter.priority && ours.test(name)))
    return undefined;
  return filters.filter(({ priority }) => priority < clsactFilter.priority).map(({ name }) => name);
}

/** Names of the programs that run before ours at these hooks of a device. */
export function programsBefore(
  kernel: Kernel,
  kind: TcKind,
  ifindex: number,
  at: readonly TcDirection[] = directions,
): readonly string[] {
  return [...new Set(at.flatMap((direction) => namesBefore(kernel, kind, ifindex, direction) ?? []))];
}

/** "DEVICE: NAME, NAME" for each device where other programs run before ours. */
export function findIntruders(kernel: Kernel, kind: TcKind): readonly string[] {
  return kernel.devices().flatMap((device) => {
    const names = hasEthernetHeader(device) ? programsBefore(kernel, kind, device.index) : [];
    return names.length === 0 ? [] : [`${device.name}: ${names.join(', ')}`];
  });
}
