// The XDP hook of one device. It is optional, since the tc programs handle all packets: a failure is no error of the
// agent.
import { native, type BpfProgram } from '../../native/index.ts';
import { messageOf } from '../errors.ts';
import type { ChosenDevice } from './devices.ts';
import type { LinkPin } from './paths.ts';
import type { PinnedLinks } from './pins.ts';

/** auto: native if the driver supports it, else off. */
export type XdpChoice = 'auto' | 'native' | 'generic' | 'off';
type Mode = 'native' | 'generic';

export interface XdpOutcome {
  /** For the status: native, generic, or off with the reason. */
  readonly state: string;
  readonly pin: LinkPin | undefined;
  readonly refused: boolean; // the kernel or driver refused
  readonly failed: boolean; // refused, though --xdp demands it
}

export function ensureXdp(
  links: PinnedLinks,
  program: BpfProgram,
  { device, role }: ChosenDevice,
  choice: XdpChoice,
): XdpOutcome {
  if (choice === 'off') return off('off');
  if (role !== 'uplink') return off('off: not an uplink');
  // On veth and the like the kernel copies each packet into an XDP frame and disables segmentation offload.
  if (choice === 'auto' && !device.physical) return off('off: no hardware driver');
  const mode = choice === 'auto' ? 'native' : choice;
  try {
    return { state: mode, pin: attach(links, program, device.index, mode), refused: false, failed: false };
  } catch (error) {
    return { ...off(`off: ${messageOf(error)}`), refused: true, failed: choice !== 'auto' };
  }
}

function off(state: string): XdpOutcome {
  return { state, pin: undefined, refused: false, failed: false };
}

function attach(links: PinnedLinks, program: BpfProgram, ifindex: number, mode: Mode): LinkPin {
  const pin: LinkPin = { kind: `xdp-${mode}`, target: ifindex };
  // A device has one XDP mode at a time, and the mode of a link cannot be changed.
  links.live({ kind: mode === 'native' ? 'xdp-generic' : 'xdp-native', target: ifindex })?.detach();
  links.ensure(pin, program, () => native().attachXdp(program, ifindex, mode));
  return pin;
}
