// The hooks of system calls: links at the node's cgroup. All of them or none, so that no socket is pointed at a backend whose
// answers would give it away; what cannot be had here is left to the packet path.
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

/** auto: where they can be had; on: the agent does not start without. */
export type SocketsChoice = 'auto' | 'on' | 'off';

export interface SocketsOptions {
  readonly bpffs: string;
  readonly cgroup: string; // folder
  readonly programs: SocketPrograms | SluiceError;
  readonly choice: SocketsChoice;
  /** Whether some socket is pointed at a backend still. */
  readonly inUse: () => boolean;
}

/** For the status. `ending`: nothing new is pointed, and what was is looked after until it is closed. */
export interface SocketsState {
  readonly state: 'on' | 'off' | 'ending';
  readonly detail: string;
}

/** They point sockets; the others look after those that are. */
const pointing: ReadonlySet<SocketHook> = new Set(['sendmsg4', 'sendmsg6', 'connect4', 'connect6']);

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

  /** Throws when they were asked for by name and cannot be had. Changes nothing. */
  check(): void {
    const { choice, cgroup } = this.#options;
    const obstacle = choice === 'on' ? (this.#obstacle() ?? heldBy(cgroup)) : undefined;
    if (obstacle !== undefined) throw obstacle;
  }

  /** Brings the kernel to what it should be. */
  reconcile(): void {
    const { choice, cgroup } = this.#options;
    const obstacle = choice === 'off' ? undefined : (this.#obstacle() ?? this.#attach());
    if (choice !== 'off' && obstacle === undefined) this.#state = { state: 'on', detail: cgroup };
    else this.#end(obstacle?.detail ?? 'switched off by --socket-hooks');
    this.#tell(obstacle);
  }

  #obstacle(): SluiceError | undefined {
    const { programs, choice, cgroup } = this.#options;
    if (programs instanceof SluiceError) return programs;
    if (choice === 'auto' && isEverybodys(cgroup)) {
      const detail = `this agent is in a network namespace of its own, but ${cgroup} holds the processes of every one: name this node's cgroup with --cgroup`;
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

  /** Nothing more is pointed; what was is served until it is closed. */
  #end(detail: string): void {
    const { inUse, programs } = this.#options;
    this.#detach(this.#pins().filter(({ kind }) => pointing.has(kind)));
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

  /** Ours, the first to be detached first: the other way round than they were attached. */
  #pins(): SocketPin[] {
    const pins = listPins(this.#options.bpffs).filter(isSocketPin);
    return pins.sort((one, other) => socketHooks.indexOf(other.kind) - socketHooks.indexOf(one.kind));
  }

  #detach(pins: readonly LinkPin[]): void {
    const { bpffs } = this.#options;
    for (const pin of pins) {
      this.#links.forget(pin); // which detaches one that has no pin yet
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

/** A program that was attached for itself alone, here or further up, keeps all others out: whose it is. */
function heldBy(cgroup: string): SluiceError | undefined {
  for (const hook of socketHooks) {
    for (const folder of upwards(cgroup)) {
      const { flags, programs } = native().queryCgroup(folder, attachTypes[hook]);
      const [holder] = programs;
      if (holder === undefined) continue;
      if ((flags & allowMulti) !== 0 || (folder !== cgroup && (flags & allowOverride) !== 0)) break;
      const detail = `program ${holder.name} (id ${String(holder.id)}) at ${folder} lets no other beside it (${hook}): attach it with BPF_F_ALLOW_MULTI, or detach it with bpftool cgroup detach`;
      return new SluiceError('SLB_E_SOCKETS', detail);
    }
  }
  return undefined;
}

/** The folder and those above it, as far as they are cgroups. */
function upwards(cgroup: string): string[] {
  try {
    native().cgroupId(cgroup);
  } catch {
    return [];
  }
  return [cgroup, ...upwards(dirname(cgroup))];
}

const rootCgroup = 1;

/** Several nodes in one kernel, as in tests: the root of all cgroups holds the processes of all of them. */
function isEverybodys(cgroup: string): boolean {
  return native().cgroupId(cgroup) === rootCgroup && !inFirstNamespace();
}

/** Whether our network namespace is that of the first process that we can see; told only where it may be told. */
function inFirstNamespace(): boolean {
  try {
    return readlinkSync('/proc/self/ns/net') === readlinkSync('/proc/1/ns/net');
  } catch {
    return true;
  }
}
