// Keeps the programs attached to the devices that should have them: new devices, gone ones, and what somebody detached.
import { messageOf, SluiceError } from '../errors.ts';
import type { Surroundings } from '../host/host.ts';
import type { Role } from '../host/roles.ts';
import { publish } from '../observe/channels.ts';
import { removeAllAttached } from './clean.ts';
import { chooseDevices, directionsOf, type ChosenDevice, type SkippedDevice } from './devices.ts';
import { isDevicePin, linkPath, type LinkPin } from './layout.ts';
import type { Programs } from './load.ts';
import { listPins, PinnedLinks } from './pins.ts';
import { ensureClsact, ensureTcx, type TcKind } from './tc.ts';
import { ensureXdp, type XdpChoice } from './xdp.ts';

export interface AttachOptions {
  readonly bpffs: string;
  readonly programs: Programs;
  readonly patterns: readonly string[]; // --devices
  readonly xdp: XdpChoice;
  readonly tc: TcKind;
}

/** For the status. */
export interface DeviceState {
  readonly name: string;
  readonly ifindex: number;
  readonly role: Role;
  readonly tc: string; // tcx, clsact, or "failed: reason"
  readonly xdp: string; // native, generic, or "off: reason"
}

interface Attached {
  readonly state: DeviceState;
  readonly pins: readonly LinkPin[];
  readonly problem: string; // "" when all is as asked for
}

/** Pins are the truth about what is attached; this holds the links and remembers what to tell. */
export class Attachments {
  readonly #options: AttachOptions;
  readonly #links: PinnedLinks;
  #attached = new Map<number, Attached>();
  #skipped: readonly SkippedDevice[] = [];

  constructor(options: AttachOptions) {
    this.#options = options;
    this.#links = new PinnedLinks(options.bpffs);
  }

  /** Brings the kernel to what it should be. A device that fails does not stop the others. */
  reconcile(surroundings: Surroundings): void {
    const { chosen, skipped } = chooseDevices(surroundings, this.#options.patterns);
    this.#skipped = skipped;
    const before = this.#attached;
    const after = new Map(chosen.map((choice) => [choice.device.index, this.#attach(choice)]));
    this.#attached = after;
    // New hooks first, then the old ones away: a change from one kind of hook to another leaves no gap.
    this.#removeStale(after);
    tellChanges(before, after);
  }

  states(): readonly DeviceState[] {
    return [...this.#attached.values()].map(({ state }) => state);
  }

  /** Devices without programs, and why. */
  skipped(): readonly SkippedDevice[] {
    return this.#skipped;
  }

  #attach(choice: ChosenDevice): Attached {
    const { bpffs, programs, tc: kind, xdp: xdpChoice } = this.#options;
    const { index: ifindex, name } = choice.device;
    const place = { ifindex, directions: directionsOf(choice.role) };
    let tc: string = kind;
    let pins: LinkPin[] = [];
    try {
      pins = kind === 'tcx' ? ensureTcx(this.#links, programs, place) : ensureClsact(bpffs, programs, place);
    } catch (error) {
      tc = `failed: ${messageOf(error)}`;
    }
    const xdp = ensureXdp(this.#links, programs.xdpIn, choice, xdpChoice);
    return {
      state: { name, ifindex, role: choice.role, tc, xdp: xdp.state },
      pins: xdp.pin === undefined ? pins : [...pins, xdp.pin],
      problem: [tc === kind ? '' : `tc ${tc}`, xdp.failed ? `XDP ${xdp.state}` : '']
        .filter(Boolean)
        .join('; '),
    };
  }

  #removeStale(after: ReadonlyMap<number, Attached>): void {
    const { bpffs } = this.#options;
    const wanted = new Set(
      [...after.values()].flatMap(({ pins }) => pins.map((pin) => linkPath(bpffs, pin))),
    );
    const failed = (pin: LinkPin): boolean => (after.get(pin.target)?.problem ?? '') !== '';
    // What stands at a device whose last attempt failed may be all that still forwards there.
    const stale = listPins(bpffs).filter(
      (pin) => isDevicePin(pin) && !wanted.has(linkPath(bpffs, pin)) && !failed(pin),
    );
    removeAllAttached(bpffs, stale);
    for (const pin of stale) this.#links.forget(pin);
  }
}

function tellChanges(before: ReadonlyMap<number, Attached>, after: ReadonlyMap<number, Attached>): void {
  for (const [ifindex, { state, problem }] of after) {
    const known = before.get(ifindex);
    if (problem !== '' && problem !== known?.problem) {
      publish('device.failed', {
        device: state.name,
        error: new SluiceError('SLB_E_ATTACH', `${state.name}: ${problem}`),
      });
    } else if (
      problem === '' &&
      (known === undefined || known.problem !== '' || known.state.name !== state.name)
    ) {
      publish('device.attached', { device: state.name, tc: state.tc, xdp: state.xdp });
    }
  }
  for (const [ifindex, { state }] of before) {
    if (!after.has(ifindex)) publish('device.detached', { device: state.name });
  }
}
