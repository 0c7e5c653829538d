// The current facts of this host, computed again when the kernel reports a change or the Node object changes.
import type { NetworkChange } from '../../native/index.ts';
import type { HostFacts } from '../model/types.ts';
import { publish } from '../observe/channels.ts';
import type { NodeObject } from '../source/objects.ts';
import { findFacts, type FactOptions } from './facts.ts';
import { nodeAddressesOf } from './identity.ts';
import { NetworkReader, type Network } from './network.ts';
import { isEverywhere } from './nodeports.ts';
import { rolesOf, type RoleOptions, type Roles } from './roles.ts';

export interface HostOptions extends RoleOptions, FactOptions {
  readonly nodeAddresses: readonly string[]; // of --node-address; [] to detect them
}

export interface HostWiring {
  readonly node: () => NodeObject | undefined;
  readonly network?: Pick<NetworkReader, 'current' | 'note' | 'forget' | 'dueIn'>;
}

export interface HostChange {
  /** For the data path. */
  readonly facts: HostFacts;
  /** The node IPs have changed. */
  readonly renamed: boolean;
}

/** What decides which devices have programs. */
export interface HostNetwork {
  readonly network: Network;
  readonly roles: Roles;
}

export class Host {
  readonly #options: HostOptions;
  readonly #wiring: HostWiring;
  readonly #network: NonNullable<HostWiring['network']>;
  readonly #listeners: ((change: HostChange) => void)[] = [];
  #addresses: readonly string[] = [];
  #facts: HostFacts = { addresses: [], devices: [], podRanges: [] };
  #notes: readonly string[] = [];
  #known = '';
  #answering = ''; // the addresses that were published last

  constructor(options: HostOptions, wiring: HostWiring) {
    this.#options = options;
    this.#wiring = wiring;
    this.#network = wiring.network ?? new NetworkReader();
  }

  /** Node IPs, the first of each family (S-112). */
  get nodeAddresses(): readonly string[] {
    return this.#addresses;
  }

  /** Addresses that accept NodePort connections, loopback excepted; undefined for all (S-56). */
  get nodePortAddresses(): readonly string[] | undefined {
    if (isEverywhere(this.#options.nodePorts.addresses)) return undefined;
    return this.#facts.addresses
      .filter(({ nodePort, loopback }) => nodePort && !loopback)
      .map(({ address }) => address);
  }

  /** Called by the first refresh(), and by each that finds a change, in the order of these calls. */
  onChange(listener: (change: HostChange) => void): void {
    this.#listeners.push(listener);
  }

  /** Takes a message of the kernel; refresh() applies it. */
  note(change: NetworkChange): void {
    this.#network.note(change);
  }

  /** The next refresh() reads everything from the kernel. */
  forget(): void {
    this.#network.forget();
  }

  /** Milliseconds until a refresh() is due without a change; undefined for none. */
  dueIn(): number | undefined {
    return this.#network.dueIn();
  }

  /** Computes the facts from the network and the Node object, and announces them if they differ. */
  refresh(): HostNetwork {
    const { node } = this.#wiring;
    const network = this.#network.current();
    const roles = rolesOf(network, this.#options);
    const object = node();
    const addresses = nodeAddressesOf(this.#options.nodeAddresses, object, network, roles);
    const podCidrs = object?.podCIDRs ?? [];
    const { facts, notes } = findFacts(network, roles, { addresses, podCidrs }, this.#options);
    this.#tell(notes);
    const now = JSON.stringify([addresses, facts]);
    if (now !== this.#known) {
      this.#known = now;
      const renamed = addresses.join() !== this.#addresses.join();
      this.#addresses = addresses;
      this.#facts = facts;
      this.#publish(addresses, facts);
      for (const listener of this.#listeners) listener({ facts, renamed });
    }
    return { network, roles };
  }

  /** The same, with errors published: it is tried again at the next change, or after 30 s. */
  refreshOrTell(): void {
    try {
      this.refresh();
    } catch (error) {
      publish('agent.fault', { error });
    }
  }

  /** Pod devices come and go all the time: only another address, or none of them any more, is news for an operator. */
  #publish(node: readonly string[], { addresses, devices }: HostFacts): void {
    const answering = JSON.stringify([node, addresses]);
    if (answering === this.#answering) publish('host.devices', { devices: devices.length });
    else publish('host.changed', { node, addresses: addresses.length });
    this.#answering = answering;
  }

  #tell(notes: readonly string[]): void {
    for (const detail of notes) if (!this.#notes.includes(detail)) publish('host.unexpected', { detail });
    this.#notes = notes;
  }
}
