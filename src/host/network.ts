// This machine's network as the kernel tells it: read whole from time to time, and kept up to date by the kernel's messages in
// between, so that a change costs what has changed and not what there is.
import { readFileSync } from 'node:fs';
import {
  native,
  type Native,
  type NetAddress,
  type NetDevice,
  type NetworkChange,
} from '../../native/index.ts';

export interface Network {
  readonly devices: readonly NetDevice[];
  readonly addresses: readonly NetAddress[];
  readonly defaultRoutes: readonly number[]; // ifindexes
  /** How strict the kernel is about the sources of what comes in, by ifindex: 0 not, 1 strict, 2 loose. */
  readonly rpFilters?: ReadonlyMap<number, number>;
}

type Kernel = Pick<Native, 'devices' | 'addresses' | 'defaultRouteDevices'>;

/** Routes are read at most for this part of the time: a router may have a million of them. */
const routeShare = 50;

type Part = 'devices' | 'addresses' | 'routes';

export class NetworkReader {
  readonly #kernel: Kernel;
  readonly #now: () => number;
  readonly #due = new Set<Part>(['devices', 'addresses', 'routes']);
  readonly #devices = new Map<number, NetDevice>();
  readonly #rpFilters = new Map<number, number>();
  #rpAll = 0;
  #addresses: readonly NetAddress[] = [];
  #routes: readonly number[] = [];
  #routesFrom = 0; // not read again before

  constructor(kernel: Kernel = native(), now: () => number = () => performance.now()) {
    this.#kernel = kernel;
    this.#now = now;
  }

  /** Everything is to be read afresh. */
  forget(): void {
    for (const part of ['devices', 'addresses', 'routes'] as const) this.#due.add(part);
  }

  note({ links, gone, addresses, routes, lost }: NetworkChange): void {
    if (lost) this.forget();
    if (addresses) this.#due.add('addresses');
    if (routes) this.#due.add('routes');
    const leading = new Set(this.#routes);
    if (links.length > 0) this.#rpAll = rpFilterOf('all');
    for (const device of links) {
      this.#add(device);
      // A device that goes down loses its IPv4 routes without a word.
      if (!device.up && leading.has(device.index)) this.#due.add('routes');
    }
    for (const index of gone) {
      this.#devices.delete(index);
      this.#rpFilters.delete(index);
      if (leading.has(index)) this.#due.add('routes');
      // It may have moved to another namespace: of the other end of its cable, the kernel says nothing.
      if ([...this.#devices.values()].some(({ lower }) => lower === index)) this.#due.add('devices');
    }
  }

  /** What is known, with what is due read anew. */
  current(): Network {
    if (this.#due.delete('devices')) {
      this.#devices.clear();
      this.#rpAll = rpFilterOf('all');
      for (const device of this.#kernel.devices()) this.#add(device);
    }
    if (this.#due.delete('addresses')) this.#addresses = this.#kernel.addresses();
    if (this.#due.has('routes') && this.#now() >= this.#routesFrom) this.#readRoutes();
    const devices = [...this.#devices.values()];
    const strictness = (index: number): number => Math.max(this.#rpAll, this.#rpFilters.get(index) ?? 0);
    return {
      devices,
      addresses: this.#addresses,
      defaultRoutes: this.#routes,
      rpFilters: new Map(devices.map(({ index }) => [index, strictness(index)])),
    };
  }

  #add(device: NetDevice): void {
    this.#devices.set(device.index, device);
    this.#rpFilters.set(device.index, rpFilterOf(device.name));
  }

  /** In how many milliseconds to look again, for what may not be read yet; undefined when nothing is due. */
  dueIn(): number | undefined {
    return this.#due.has('routes') ? Math.max(0, this.#routesFrom - this.#now()) : undefined;
  }

  #readRoutes(): void {
    const begun = this.#now();
    this.#routes = this.#kernel.defaultRouteDevices();
    this.#due.delete('routes');
    const ended = this.#now();
    this.#routesFrom = ended + (ended - begun) * routeShare;
  }
}

/** Of a device, or of all: the larger one counts. */
function rpFilterOf(name: string): number {
  try {
    return Number(readFileSync(`/proc/sys/net/ipv4/conf/${name}/rp_filter`, 'utf8'));
  } catch {
    return 0; // gone meanwhile, or without IPv4
  }
}

const scopeUniverse = 0; // RT_SCOPE_UNIVERSE: not link-local, not loopback

/** Of use beyond its own link. */
export function isGlobal({ scope }: NetAddress): boolean {
  return scope === scopeUniverse;
}
