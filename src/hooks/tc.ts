// The tc hooks of one device: tcx links where the kernel has them, filters on a clsact qdisc below 6.6.
import { native, type BpfProgram, type TcDirection } from '../../native/index.ts';
import { clsactFilter, linkPath, type LinkPin } from './layout.ts';
import type { Programs } from './load.ts';
import { hasPin, openLiveLink, replacePin } from './pins.ts';

export type TcKind = 'tcx' | 'clsact';

const suffixes = { ingress: 'in', egress: 'out' } as const;

/** Both programs stand at their hooks afterwards, whatever stood there before. Returns the pins that say so. */
export function ensureTc(bpffs: string, programs: Programs, ifindex: number, kind: TcKind): LinkPin[] {
  const ensure = kind === 'tcx' ? ensureTcx : ensureClsact;
  return [
    ...ensure(bpffs, programs.tcIn, ifindex, 'ingress'),
    ...ensure(bpffs, programs.tcOut, ifindex, 'egress'),
  ];
}

/** Attaches, or replaces the program in one step, or finds that nothing is to be done. The pin keeps the link alive. */
function ensureTcx(bpffs: string, program: BpfProgram, ifindex: number, direction: TcDirection): LinkPin[] {
  const pin: LinkPin = { kind: `tcx-${suffixes[direction]}`, ifindex };
  const present = openLiveLink(bpffs, pin);
  const link = present ?? native().attachTcx(program, ifindex, direction);
  try {
    if (present === undefined) link.pin(linkPath(bpffs, pin));
    else if (link.programId !== program.id) link.update(program);
  } finally {
    link.close();
  }
  return [pin];
}

function ensureClsact(
  bpffs: string,
  program: BpfProgram,
  ifindex: number,
  direction: TcDirection,
): LinkPin[] {
  const { priority, handle } = clsactFilter;
  const pin: LinkPin = { kind: `clsact-${suffixes[direction]}`, ifindex };
  const qdisc: LinkPin = { kind: 'qdisc', ifindex };
  const present = native().queryClsact(ifindex, direction, priority, handle);
  if (present !== program.id || !hasPin(bpffs, pin)) {
    const madeQdisc = native().attachClsact(program, ifindex, direction, priority, handle);
    replacePin(bpffs, pin, program);
    if (madeQdisc) replacePin(bpffs, qdisc, program);
  }
  return hasPin(bpffs, qdisc) ? [pin, qdisc] : [pin];
}
