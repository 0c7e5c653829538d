// The XDP hook of one device. It is an extra: tc does the whole job, so nothing that XDP lacks ever stops the agent.
import { native, type BpfProgram } from '../../native/index.ts';
import { messageOf } from '../errors.ts';
import type { ChosenDevice } from './devices.ts';
import { linkPath, type LinkPin } from './layout.ts';
import { openLiveLink, removePin } from './pins.ts';

/** auto: native where a driver can, else not at all. */
export type XdpChoice = 'auto' | 'native' | 'generic' | 'off';
type Mode = 'native' | 'generic';

export interface XdpOutcome {
  /** For the status: native, generic, or off with the reason. */
  readonly state: string;
  readonly pin: LinkPin | undefined;
  readonly failed: boolean; // asked for by name, and not had
}

export function ensureXdp(
  bpffs: string,
  program: BpfProgram,
  { device, role }: ChosenDevice,
  choice: XdpChoice,
): XdpOutcome {
  if (choice === 'off') return off('off');
  if (role !== 'uplink') return off('off: not an uplink');
  // On veth and its like the kernel first copies each packet into an XDP frame and gives up segmentation offload.
  if (choice === 'auto' && !device.physical) return off('off: no hardware driver');
  const mode = choice === 'auto' ? 'native' : choice;
  try {
    return { state: mode, pin: attach(bpffs, program, device.index, mode), failed: false };
  } catch (error) {
    return { ...off(`off: ${messageOf(error)}`), failed: choice !== 'auto' };
  }
}

function off(state: string): XdpOutcome {
  return { state, pin: undefined, failed: false };
}

function attach(bpffs: string, program: BpfProgram, ifindex: number, mode: Mode): LinkPin {
  const pin: LinkPin = { kind: `xdp-${mode}`, ifindex };
  const present = openLiveLink(bpffs, pin);
  // A device runs one mode at a time, and a link keeps its mode for life.
  if (present === undefined) detachMode(bpffs, ifindex, mode === 'native' ? 'generic' : 'native');
  const link = present ?? native().attachXdp(program, ifindex, mode);
  try {
    if (present === undefined) link.pin(linkPath(bpffs, pin));
    else if (link.programId !== program.id) link.update(program);
  } finally {
    link.close();
  }
  return pin;
}

function detachMode(bpffs: string, ifindex: number, mode: Mode): void {
  const pin: LinkPin = { kind: `xdp-${mode}`, ifindex };
  const other = openLiveLink(bpffs, pin);
  if (other === undefined) return;
  other.detach();
  other.close();
  removePin(bpffs, pin);
}
