// Attaches the socket programs to the cgroup of the node, all or none: a socket that is translated when it connects
// must be translated in replies and getpeername() too. Without them, Service addresses are translated per packet.
import { readlinkSync } from 'node:fs';
import { dirname } from 'node:path';
import { native, type BpfLink } from '../../native/index.ts';
import { messageOf, SluiceError } from '../errors.ts';
import { publish } from '../observe/channels.ts';
import { removeAttached } from './clean.ts';
import { isDevicePin, type LinkPin } from './paths.ts';
import type { SocketPrograms } from './objects.ts';
import { hasPin, listPins, PinnedLinks } from './pins.ts';
import { attachTypes, socketHooks, type SocketHook } from './cgroupattach.ts';

/** auto: if they can be attached; on: the agent ends if they cannot. */
export type SocketsChoice = 'auto' | 'on' | 'off';

export interface SocketsOptions {
  readonly bpffs: string;
  readonly cgroup: string; // folder
  readonly programs: SocketPrograms | SluiceError;
  readonly choice: SocketsChoice;
  /** Whether there are translated sockets. */
  readonly inUse: () => boolean;
}

/**
 * For the status. `ending`: no more sockets are translated; programs serve the translated ones until these are closed.
 */
export interface SocketsState {
  readonly state: 'on' | 'off' | 'ending';
  readonly detail: string;
}

/** The hooks that translate sockets; the others serve those that are translated. */
const translating: ReadonlySet<SocketHook> = new Set(['sendmsg4', 'sendmsg6', 'connect4', 'connect6']);

const allowOverride = 1; // BPF_F_ALLOW_OVERRIDE
const allowMulti = 2; // BPF_F_ALLOW_MULTI

export class SocketHooks {
  readonly #options: SocketsOptions;
  readonly #links: PinnedLinks;
  #state: SocketsState = { state: 'off', detail: 'not attached yet' };
  #told = '';

  constructor(options: SocketsOptions) {
    this.#options = options;
    this.#links = new PinnedLinks(options.bpffs);
  }

  state(): SocketsState {
    return this.#state;
  }

  /** Throws SLB_E_SOCKETS when --socket-hooks is on and they cannot be attached. Changes nothing. */
  check(): void {
    const { choice, cgroup } = this.#options;
    const obstacle = choice === 'on' ? (this.#obstacle() ?? heldBy(cgroup)) : undefined;
    if (obstacle !== undefined) throw obstacle;
  }

  /** Attaches or detaches the programs as the options say. */
  reconcile(): void {
    const { choice, cgroup } = this.#options;
    const obstacle = choice === 'off' ? undefined : (this.#obstacle() ?? this.#attach());
    if (choice !== 'off' && obstacle === undefined) this.#state = { state: 'on', detail: cgroup };
    else this.#end(obstacle?.detail ?? 'disabled by --socket-hooks');
    this.#tell(obstacle);
  }

  #obstacle(): SluiceError | undefined {
    const { programs, choice, cgroup } = this.#options;
    if (programs instanceof SluiceError) return programs;
    if (choice === 'auto' && isShared(cgroup)) {
      const detail = `the agent has a network namespace of its own, but ${cgroup} holds the processes of all: name the cgroup of this node with --cgroup`;
      return new SluiceError('SLB_E_SOCKETS', detail);
    }
    return undefined;
  }

  #attach(): SluiceError | undefined {
    const { programs, cgroup } = this.#options;
    if (programs instanceof SluiceError) return programs;
    const fresh: LinkPin[] = [];
    try {
      const target = native().cgroupId(cgroup);
      for (const kind of socketHooks) {
        const pin: LinkPin = { kind, target };
        const attach = (): BpfLink => {
          fresh.push(pin);
          return native().attachCgroup(programs[kind], cgroup, attachTypes[kind]);
        };
        this.#links.ensure(pin, programs[kind], attach);
      }
      this.#detach(this.#pins().filter((pin) => pin.target !== target));
      return undefined;
    } catch (error) {
      this.#detach(fresh.reverse());
      return heldBy(cgroup) ?? new SluiceError('SLB_E_SOCKETS', messageOf(error), { cause: error });
    }
  }

  /** Detaches the programs that translate, and the others when there are no translated sockets. */
  #end(detail: string): void {
    const { inUse, programs } = this.#options;
    this.#detach(this.#pins().filter(({ kind }) => translating.has(kind)));
    const left = this.#pins();
    if (left.length === 0 || !inUse()) {
      this.#detach(left);
      this.#state = { state: 'off', detail };
      return;
    }
    if (!(programs instanceof SluiceError))
      for (const pin of left) this.#links.renew(pin, programs[pin.kind]);
    this.#state = { state: 'ending', detail };
  }

  /** The pins in the reverse order of attachment, which is the order of detachment. */
  #pins(): SocketPin[] {
    const pins = listPins(this.#options.bpffs).filter(isSocketPin);
    return pins.sort((one, other) => socketHooks.indexOf(other.kind) - socketHooks.indexOf(one.kind));
  }

  #detach(pins: readonly LinkPin[]): void {
    const { bpffs } = this.#options;
    for (const pin of pins) {
      this.#links.forget(pin); // closing detaches a link that has no pin yet
      if (hasPin(bpffs, pin)) removeAttached(bpffs, pin);
    }
  }

  #tell(obstacle: SluiceError | undefined): void {
    const { state, detail } = this.#state;
    const said = `${state} ${detail}`;
    if (said === this.#told) return;
    const first = this.#told === '';
    this.#told = said;
    if (obstacle !== undefined) publish('sockets.failed', { error: obstacle });
    else if (state === 'on') publish('sockets.attached', { cgroup: detail });
    else if (!first || state === 'ending') publish('sockets.ended', { state, detail });
  }
}

type SocketPin = LinkPin & { readonly kind: SocketHook };

function isSocketPin(pin: LinkPin): pin is SocketPin {
  return !isDevicePin(pin);
}

/**
 * The error if another program was attached to the cgroup or one above without BPF_F_ALLOW_MULTI: it keeps all others
 * out.
 */
function heldBy(cgroup: string): SluiceError | undefined {
  for (const hook of socketHooks) {
    for (const folder of upwards(cgroup)) {
      const { flags, programs } = native().queryCgroup(folder, attachTypes[hook]);
      const [holder] = programs;
      if (holder === undefined) continue;
      if ((flags & allowMulti) !== 0 || (folder !== cgroup && (flags & allowOverride) !== 0)) break;
      const detail = `program ${holder.name} (id ${String(holder.id)}) at ${folder} allows no other programs (${hook}): attach it with BPF_F_ALLOW_MULTI, or detach it with bpftool cgroup detach`;
      return new SluiceError('SLB_E_SOCKETS', detail);
    }
  }
  return undefined;
}

/** The cgroup and those above it. */
function upwards(cgroup: string): string[] {
  try {
    native().cgroupId(cgroup);
  } catch {
    return [];
  }
  return [cgroup, ...upwards(dirname(cgroup))];
}

const rootCgroup = 1;

/**
 * The root cgroup, from a network namespace of its own: with several nodes in one kernel it has the processes of all.
 */
function isShared(cgroup: string): boolean {
  return native().cgroupId(cgroup) === rootCgroup && !inFirstNamespace();
}

/** Whether the network namespace is that of process 1; true when that cannot be read. */
function inFirstNamespace(): boolean {
  try {
    return readlinkSync('/proc/self/ns/net') === readlinkSync('/proc/1/ns/net');
  } catch {
    return true;
  }
}
