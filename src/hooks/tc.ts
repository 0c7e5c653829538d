// The tc hooks of one device: tcx links where the kernel has them, filters on a clsact qdisc below 6.6.
import { native, type BpfLink, type BpfProgram, type TcDirection } from '../../native/index.ts';
import { clsactFilter } from '../kernel/tcprograms.ts';
import type { Programs } from './objects.ts';
import { linkPath, type LinkPin } from './paths.ts';
import { hasPin, replacePin, type PinnedLinks } from './pins.ts';

/** Before all other programs at tcx, or after them. */
export type TcxOrder = 'first' | 'last';

export interface TcPlace {
  readonly ifindex: number;
  readonly directions: readonly TcDirection[];
}

const suffixes = { ingress: 'in', egress: 'out' } as const;

function programFor({ tcIn, tcOut }: Programs, direction: TcDirection): BpfProgram {
  return direction === 'ingress' ? tcIn : tcOut;
}

/** Makes sure that the programs are attached. Returns their pins. Throws errors of the kernel. */
export function ensureTcx(
  links: PinnedLinks,
  programs: Programs,
  { ifindex, directions }: TcPlace,
  order: TcxOrder,
): LinkPin[] {
  const first = order === 'first';
  return directions.map((direction) => {
    const program = programFor(programs, direction);
    const pin: LinkPin = { kind: `tcx-${suffixes[direction]}`, target: ifindex };
    const attach = (): BpfLink => native().attachTcx(program, ifindex, direction, first);
    // An earlier agent may have had another order. Programs that are attached before ours later are not displaced: two
    // that both want to be first would do so without end.
    const isInPlace = ({ programId }: BpfLink): boolean =>
      !first || native().queryTcx(ifindex, direction)[0]?.id === programId;
    links.ensure(pin, program, attach, isInPlace);
    return pin;
  });
}

/** The same with filters on a clsact qdisc. The pin of a filter only marks that it was attached. */
export function ensureClsact(bpffs: string, programs: Programs, { ifindex, directions }: TcPlace): LinkPin[] {
  const qdisc: LinkPin = { kind: 'qdisc', target: ifindex };
  const pins = directions.map((direction) => {
    const program = programFor(programs, direction);
    const { priority, handle } = clsactFilter;
    const pin: LinkPin = { kind: `clsact-${suffixes[direction]}`, target: ifindex };
    const present = native().queryClsact(ifindex, direction, priority, handle);
    if (present === program.id && hasPin(bpffs, pin)) return pin;
    const madeQdisc = native().attachClsact(program, ifindex, direction, priority, handle);
    replacePin(bpffs, pin, program);
    if (madeQdisc) replacePin(bpffs, qdisc, program);
    return pin;
  });
  if (!hasPin(bpffs, qdisc)) return pins;
  // Otherwise the program of an earlier agent stays loaded, with all its maps.
  if (!namesOneOf(bpffs, qdisc, programs)) replacePin(bpffs, qdisc, programs.tcIn);
  return [...pins, qdisc];
}

function namesOneOf(bpffs: string, pin: LinkPin, { tcIn, tcOut }: Programs): boolean {
  const pinned = native().openPinnedProgram(linkPath(bpffs, pin));
  const { id } = pinned;
  pinned.close();
  return id === tcIn.id || id === tcOut.id;
}
