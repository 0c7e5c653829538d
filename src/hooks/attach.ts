// Keeps programs attached to devices: attaches to new ones, cleans up after removed ones, and attaches again what other
// programs have detached.
import { native, type NativeError } from '../../native/index.ts';
import { messageOf, SluiceError } from '../errors.ts';
import type { HostNetwork } from '../host/host.ts';
import type { Role } from '../host/roles.ts';
import { publish } from '../observe/channels.ts';
import { removeAllAttached } from './clean.ts';
import { chooseDevices, directionsOf, type ChosenDevice, type SkippedDevice } from './devices.ts';
import { isDevicePin, linkPath, type LinkPin } from './paths.ts';
import type { Programs } from './objects.ts';
import { listPins, PinnedLinks } from './pins.ts';
import { programsBefore, type TcKind } from '../kernel/tcprograms.ts';
import { ensureClsact, ensureTcx, type TcxOrder } from './tc.ts';
import { ensureXdp, type XdpChoice } from './xdp.ts';

export interface AttachOptions {
  readonly bpffs: string;
  readonly programs: Programs;
  readonly patterns: readonly string[]; // --devices
  readonly xdp: XdpChoice;
  readonly tc: TcKind;
  readonly tcxOrder: TcxOrder;
  /** A monotonic clock, in milliseconds. */
  readonly now?: () => number;
}

/** For the status. */
export interface DeviceState {
  readonly name: string;
  readonly ifindex: number;
  readonly role: Role;
  readonly tc: string; // "tcx" or "clsact", with ", behind NAME…" if other programs run before; or "failed: REASON"
  readonly xdp: string; // native, generic, or "off: reason"
}

/** The result of one kind of hook at one device. */
interface Outcome {
  readonly state: string;
  readonly pins: readonly LinkPin[];
  /** The attempt failed: it is tried again with backoff only. */
  readonly failed: boolean;
  readonly problem: string; // "" for none
  /** The kernel no longer has the device, and will send a message. */
  readonly gone?: boolean;
}

interface Attached {
  readonly state: DeviceState;
  readonly tc: Outcome;
  readonly xdp: Outcome;
  readonly signature: string;
  readonly waitMs: number; // between attempts that fail
  readonly retryAt: number;
}

const firstWaitMs = 5_000;
const longestWaitMs = 300_000;

const pinsOf = ({ tc, xdp }: Attached): readonly LinkPin[] => [...tc.pins, ...xdp.pins];
const problemOf = ({ tc, xdp }: Attached): string => [tc.problem, xdp.problem].filter(Boolean).join('; ');

/** All that an attempt depends on: after a failure it is tried again at once when any of it has changed. */
function signatureOf({ device, role }: ChosenDevice): string {
  const { name, up, kind, mtu, mac, arpType, master, physical } = device;
  return JSON.stringify([name, up, kind, mtu, mac, arpType, master, physical, role]);
}

/** The pins say what is attached. This class holds the links open, and the states for status and log. */
export class Attachments {
  readonly #options: AttachOptions;
  readonly #links: PinnedLinks;
  #attached = new Map<number, Attached>();
  #skipped: readonly SkippedDevice[] = [];

  constructor(options: AttachOptions) {
    this.#options = options;
    this.#links = new PinnedLinks(options.bpffs);
  }

  /** Checks all devices, and attaches what is missing. A failure at one device does not affect others. */
  reconcile(host: HostNetwork): void {
    this.#bring(host, true);
  }

  /** The same for devices that were added, removed or changed only. */
  update(host: HostNetwork): void {
    this.#bring(host, false);
  }

  #bring(host: HostNetwork, whole: boolean): void {
    const { chosen, skipped } = chooseDevices(host, this.#options.patterns);
    this.#skipped = skipped;
    const before = this.#attached;
    this.#attachNewcomers(chosen);
    const attempts = chosen.map((choice) => [choice.device.index, this.#attach(choice, whole)] as const);
    const after = new Map(attempts.filter(([, { tc }]) => tc.gone !== true));
    this.#attached = after;
    // New hooks are attached before old ones are removed, so that a change of the kind of hook leaves no gap.
    if (whole || haveFewer(before, after)) this.#removeStale(after);
    tellChanges(before, after);
  }

  states(): readonly DeviceState[] {
    return [...this.#attached.values()].map(({ state }) => state);
  }

  /** Devices without programs, and why. */
  skipped(): readonly SkippedDevice[] {
    return this.#skipped;
  }

  /**
   * Attaches ingress programs of new devices first: a pod sends before it receives. Each attachment at tcx waits for
   * all CPUs (synchronize_rcu(), some 10 ms) under the rtnl lock, so egress programs and checks of known devices come
   * later.
   */
  #attachNewcomers(chosen: readonly ChosenDevice[]): void {
    const { programs, tc, tcxOrder } = this.#options;
    const fresh = chosen.filter(({ device }) => !this.#attached.has(device.index));
    if (tc !== 'tcx') return;
    for (const { device, role } of fresh) {
      const directions = directionsOf(role).filter((direction) => direction === 'ingress');
      try {
        ensureTcx(this.#links, programs, { ifindex: device.index, directions }, tcxOrder);
      } catch {
        // It is tried again, and reported, with the other hooks of the device.
      }
    }
  }

  #attach(choice: ChosenDevice, whole: boolean): Attached {
    const { now = () => performance.now() } = this.#options;
    const { index: ifindex, name } = choice.device;
    const signature = signatureOf(choice);
    const remembered = this.#attached.get(ifindex);
    const known = remembered?.signature === signature ? remembered : undefined;
    const due = known === undefined || now() >= known.retryAt;
    const isKept = (outcome: Outcome | undefined): outcome is Outcome =>
      outcome !== undefined && (outcome.failed ? !due : !whole);
    const tc = isKept(known?.tc) ? known.tc : this.#attachTc(choice);
    const xdp = isKept(known?.xdp) ? known.xdp : this.#attachXdp(choice);
    const state = { name, ifindex, role: choice.role, tc: tc.state, xdp: xdp.state };
    if (!due) return { ...known, state, tc, xdp };
    const failed = tc.failed || xdp.failed;
    const waitMs = failed
      ? Math.min(longestWaitMs, known?.waitMs === undefined ? firstWaitMs : known.waitMs * 2)
      : 0;
    return { state, tc, xdp, signature, waitMs, retryAt: now() + waitMs };
  }

  #attachTc(choice: ChosenDevice): Outcome {
    const { bpffs, programs, tc: kind, tcxOrder } = this.#options;
    const place = { ifindex: choice.device.index, directions: directionsOf(choice.role) };
    try {
      const pins =
        kind === 'tcx'
          ? ensureTcx(this.#links, programs, place, tcxOrder)
          : ensureClsact(bpffs, programs, place);
      const before = programsBefore(native(), kind, place.ifindex, place.directions);
      const state = before.length === 0 ? kind : `${kind}, behind ${before.join(', ')}`;
      return { state, pins, failed: false, problem: '' };
    } catch (error) {
      const state = `failed: ${messageOf(error)}`;
      const gone = isMissing(error);
      return { state, pins: [], failed: true, problem: `tc ${state}`, gone };
    }
  }

  #attachXdp(choice: ChosenDevice): Outcome {
    const { state, pin, refused, failed } = ensureXdp(
      this.#links,
      this.#options.programs.xdpIn,
      choice,
      this.#options.xdp,
    );
    return {
      state,
      pins: pin === undefined ? [] : [pin],
      failed: refused,
      problem: failed ? `XDP ${state}` : '',
    };
  }

  #removeStale(after: ReadonlyMap<number, Attached>): void {
    const { bpffs } = this.#options;
    const wanted = new Set(
      [...after.values()].flatMap((one) => pinsOf(one).map((pin) => linkPath(bpffs, pin))),
    );
    const failed = (pin: LinkPin): boolean => {
      const known = after.get(pin.target);
      return known !== undefined && problemOf(known) !== '';
    };
    // At a device whose last attempt failed, the old program may be the only one that forwards.
    const stale = listPins(bpffs).filter(
      (pin) => isDevicePin(pin) && !wanted.has(linkPath(bpffs, pin)) && !failed(pin),
    );
    removeAllAttached(bpffs, stale);
    for (const pin of stale) this.#links.forget(pin);
  }
}

/** The device was removed since devices were read. */
function isMissing(error: unknown): boolean {
  return (error as Partial<NativeError>).code === 'ENODEV';
}

const isBehind = (tc: string): boolean => tc.includes(', behind ');

/** Whether a device, or a pin of one, was removed. */
function haveFewer(before: ReadonlyMap<number, Attached>, after: ReadonlyMap<number, Attached>): boolean {
  return [...before].some(([ifindex, known]) => {
    const now = after.get(ifindex);
    return now === undefined || (now !== known && pinsOf(now).length < pinsOf(known).length);
  });
}

function tellChanges(before: ReadonlyMap<number, Attached>, after: ReadonlyMap<number, Attached>): void {
  for (const [ifindex, now] of after) {
    const { state } = now;
    const known = before.get(ifindex);
    const problem = problemOf(now);
    if (problem !== '' && (known === undefined || problem !== problemOf(known))) {
      publish('device.failed', {
        device: state.name,
        error: new SluiceError('SLB_E_ATTACH', `${state.name}: ${problem}`),
      });
    } else if (
      problem === '' &&
      (known === undefined || problemOf(known) !== '' || known.state.name !== state.name)
    ) {
      publish('device.attached', { device: state.name, tc: state.tc, xdp: state.xdp });
    }
    if (isBehind(state.tc) && state.tc !== known?.state.tc)
      publish('device.behind', { device: state.name, tc: state.tc });
  }
  for (const [ifindex, { state }] of before) {
    if (!after.has(ifindex)) publish('device.detached', { device: state.name });
  }
}
