// The XDP hook of one device. It is an extra: tc does the whole job, so nothing that XDP lacks ever stops the agent.
import { native, type BpfProgram } from '../../native/index.ts';
import { messageOf } from '../errors.ts';
import type { ChosenDevice } from './devices.ts';
import type { LinkPin } from './paths.ts';
import type { PinnedLinks } from './pins.ts';

/** auto: native where a driver can, else not at all. */
export type XdpChoice = 'auto' | 'native' | 'generic' | 'off';
type Mode = 'native' | 'generic';

export interface XdpOutcome {
  /** For the status: native, generic, or off with the reason. */
  readonly state: string;
  readonly pin: LinkPin | undefined;
  readonly refused: boolean; // tried, and not had
  readonly failed: boolean; // asked for by name as well
}

export function ensureXdp(
  links: PinnedLinks,
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
  // A device runs one mode at a time, and a link keeps its mode for life.
  links.live({ kind: mode === 'native' ? 'xdp-generic' : 'xdp-native', target: ifindex })?.detach();
  links.ensure(pin, program, () => native().attachXdp(program, ifindex, mode));
  return pin;
}
