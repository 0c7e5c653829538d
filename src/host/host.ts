// This host as it is now: looked at again whenever the kernel or the Node object says that something may have changed.
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
  readonly nodeAddresses: readonly string[]; // as told; [] to find them out
}

export interface HostWiring {
  readonly node: () => NodeObject | undefined;
  /** Facts for the datapath, whenever they differ from the last ones. */
  readonly apply: (facts: HostFacts) => void;
  readonly network?: Pick<NetworkReader, 'current' | 'note' | 'forget' | 'dueIn'>;
}

/** What programs are attached by. */
export interface Surroundings {
  readonly network: Network;
  readonly roles: Roles;
}

export class Host {
  readonly #options: HostOptions;
  readonly #wiring: HostWiring;
  readonly #network: NonNullable<HostWiring['network']>;
  readonly #listeners: ((renamed: boolean) => void)[] = [];
  #addresses: readonly string[] = [];
  #facts: HostFacts = { addresses: [], devices: [], podRanges: [] };
  #notes: readonly string[] = [];
  #known = '';

  constructor(options: HostOptions, wiring: HostWiring) {
    this.#options = options;
    this.#wiring = wiring;
    this.#network = wiring.network ?? new NetworkReader();
  }

  /** By which the cluster knows this node, the first of each family (S-112). */
  get nodeAddresses(): readonly string[] {
    return this.#addresses;
  }

  /** Where NodePorts answer; undefined when that is everywhere (S-56). Loopback is for this host alone. */
  get nodePortAddresses(): readonly string[] | undefined {
    if (isEverywhere(this.#options.nodePorts.addresses)) return undefined;
    return this.#facts.addresses
      .filter(({ nodePort, loopback }) => nodePort && !loopback)
      .map(({ address }) => address);
  }

  /** Called after each change of anything above; `renamed`: the cluster knows this node by other addresses. */
  onChange(listener: (renamed: boolean) => void): void {
    this.#listeners.push(listener);
  }

  /** What the kernel has said; refresh() follows. */
  note(change: NetworkChange): void {
    this.#network.note(change);
  }

  /** The next refresh() reads everything from the kernel. */
  forget(): void {
    this.#network.forget();
  }

  /** In how many milliseconds a refresh() is needed though nothing happens. */
  dueIn(): number | undefined {
    return this.#network.dueIn();
  }

  /** Works out anew what follows from the network and the Node object. What is as before costs nothing. */
  refresh(): Surroundings {
    const { node, apply } = this.#wiring;
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
      publish('host.changed', { node: addresses, addresses: facts.addresses.length });
      apply(facts);
      for (const listener of this.#listeners) listener(renamed);
    }
    return { network, roles };
  }

  /** The same for callers that cannot act upon its failures; it is tried again at the next change, or in half a minute. */
  refreshOrTell(): void {
    try {
      this.refresh();
    } catch (error) {
      publish('agent.fault', { error });
    }
  }

  #tell(notes: readonly string[]): void {
    for (const detail of notes) if (!this.#notes.includes(detail)) publish('host.unexpected', { detail });
    this.#notes = notes;
  }
}
