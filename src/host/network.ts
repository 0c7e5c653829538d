// Devices, addresses and routes of this host: dumped from the kernel now and then, and updated from its rtnetlink
// messages in between, so that the cost of a change does not grow with the number of devices.
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
  /** rp_filter by ifindex: 0 off, 1 strict, 2 loose. */
  readonly rpFilters?: ReadonlyMap<number, number>;
}

type Kernel = Pick<Native, 'devices' | 'addresses' | 'defaultRouteDevices'>;

/** At most 1/50 of the time is spent on route dumps: a router may have a million routes. */
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

  /** The next current() dumps everything. */
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
      // The kernel sends no messages for the IPv4 routes of a device that goes down.
      if (!device.up && leading.has(device.index)) this.#due.add('routes');
    }
    for (const index of gone) {
      this.#devices.delete(index);
      this.#rpFilters.delete(index);
      if (leading.has(index)) this.#due.add('routes');
      // It may have moved to another namespace: the kernel sends no message for its peer.
      if ([...this.#devices.values()].some(({ lower }) => lower === index)) this.#due.add('devices');
    }
  }

  /** The current state; parts that are due are dumped first. */
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

  /** Milliseconds until the next route dump is allowed; undefined when none is due. */
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

/** Of a device, or "all"; the kernel uses the maximum of both. */
function rpFilterOf(name: string): number {
  try {
    return Number(readFileSync(`/proc/sys/net/ipv4/conf/${name}/rp_filter`, 'utf8'));
  } catch {
    return 0; // the device has gone, or has no IPv4
  }
}

const scopeUniverse = 0; // RT_SCOPE_UNIVERSE: not link-local, not loopback

/** Valid beyond its own link. */
export function isGlobal({ scope }: NetAddress): boolean {
  return scope === scopeUniverse;
}
