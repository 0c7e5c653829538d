// The kernel's tables in memory: applies operations phase by phase, and looks after every step at what a packet would
// meet, also one that reads a row while it is being written. Shared by the tests of the table room.
import { addressFlags } from '../../../src/table/addresses.ts';
import { slotOf } from '../../../src/table/ids.ts';
import { phases, type Phase } from '../../../src/table/order.ts';
import {
  addressKind,
  frontendKey,
  kindNumbers,
  rangeKey,
  rangeKinds,
  serviceFlags,
  type BackendRow,
  type DeviceRow,
  type FrontendRow,
  type KernelRows,
  type Ops,
  type RangeRow,
  type ServiceRow,
  type SetRow,
} from '../../../src/table/rows.ts';
import { familyOf } from '../../../src/net/ip.ts';
import { unspecified } from '../../../src/model/frontends.ts';

/** Who dials: a client outside, or a pod or process of this node, to which other policies apply (S-40). */
export const origins = ['outside', 'inside'] as const;

/** Where a frontend leads. */
interface Path {
  readonly service: number;
  readonly kind: number;
  readonly sets: readonly number[];
}

interface Served {
  readonly frontend: string; // key
  readonly set: number;
  readonly service: number;
}

export class FakeKernel {
  readonly #frontends = new Map<string, FrontendRow>();
  readonly #services = new Map<number, ServiceRow>();
  readonly #backends = new Map<number, BackendRow>();
  readonly #sets = new Map<number, SetRow>();
  readonly #ranges = new Map<string, RangeRow>();
  readonly #devices = new Map<number, DeviceRow>();
  readonly #slots = new Uint32Array(4096);
  readonly #maglev = new Uint16Array(1 << 20).fill(0xffff);
  /** What was answered in every step of the last apply. */
  #steady = new Set<string>();
  /** By frontend: the sets that it led to in some step of the last apply, and whose they are. */
  #met = new Map<string, Map<number, number>>();
  /** Sets found whole, by service and index, until something that they are made of is written. */
  readonly #sound = new Set<string>();

  /**
   * Fails when a frontend that was served before and is after was not in between, or was by backends that it has
   * neither before nor after. `done`: the agent ends after so many phases.
   */
  apply(ops: Ops, done: number = phases.length): void {
    const before = new Set(this.#served().keys());
    const old = this.#paths();
    this.#steady = new Set(before);
    this.#met = new Map();
    for (const phase of phases.slice(0, done)) {
      this.#phases[phase](ops);
      if (backing.has(phase)) this.#sound.clear();
      this.verify(phase);
    }
    const after = this.#served();
    const gaps = [...before].filter((one) => after.has(one) && !this.#steady.has(one));
    if (gaps.length > 0) throw new Error(`not served in between: ${gaps.join(', ')}`);
    this.#verifyMet(old, this.#paths());
  }

  /** A service port that gives frontends away and is given others shows both kinds its new lists: it has one row. */
  #verifyMet(before: ReadonlyMap<string, Path>, after: ReadonlyMap<string, Path>): void {
    const moved = [...after].flatMap(([key, to]) => {
      const from = before.get(key);
      return from === undefined || (from.service === to.service && from.kind === to.kind) ? [] : { from, to };
    });
    const left = new Set(moved.map(({ from }) => from.service));
    const crossed = new Set(moved.map(({ to }) => to.service).filter((service) => left.has(service)));
    for (const [key, met] of this.#met) {
      const own = [before.get(key), after.get(key)].flatMap((path) => path?.sets ?? []);
      for (const [set, service] of met)
        if (!own.includes(set) && !crossed.has(service))
          throw new Error(`${key} led to set ${set} in between`);
    }
  }

  /** Of every frontend. */
  #paths(): Map<string, Path> {
    const found = new Map<string, Path>();
    for (const [key, { service, kind }] of this.#frontends) {
      const row = kind === addressKind ? undefined : this.#services.get(slotOf(service));
      if (row !== undefined) found.set(key, { service, kind, sets: [row.clusterSet, row.localSet] });
    }
    return found;
  }

  readonly #phases: Readonly<Record<Phase, (ops: Ops) => void>> = {
    dropFrontends: (ops) => {
      for (const row of ops.dropFrontends) this.#frontends.delete(frontendKey(row));
    },
    devices: (ops) => {
      for (const row of ops.devices) this.#devices.set(row.ifindex, row);
    },
    clearServiceStats: () => undefined,
    clearBackendStats: () => undefined,
    backends: (ops) => {
      for (const row of ops.backends) this.#backends.set(slotOf(row.id), row);
    },
    slots: (ops) => {
      for (const { first, ids } of ops.slots) this.#slots.set(ids, first);
    },
    tables: (ops) => {
      for (const { first, positions } of ops.tables) this.#maglev.set(positions, first);
    },
    sets: (ops) => {
      for (const row of ops.sets) this.#sets.set(row.index, row);
    },
    ranges: (ops) => {
      for (const row of ops.ranges) this.#ranges.set(rangeKey(row), row);
    },
    services: (ops) => {
      for (const row of ops.services) this.#writeService(row);
    },
    moveFrontends: (ops) => this.#writeFrontends(ops.moveFrontends),
    leftServices: (ops) => {
      for (const row of ops.leftServices) this.#writeService(row);
    },
    frontends: (ops) => this.#writeFrontends(ops.frontends),
    dropRanges: (ops) => {
      for (const row of ops.dropRanges) this.#ranges.delete(rangeKey(row));
    },
    dropDevices: (ops) => {
      for (const { ifindex } of ops.dropDevices) this.#devices.delete(ifindex);
    },
    freeServices: (ops) => {
      for (const row of ops.freeServices) this.#services.set(slotOf(row.id), row);
    },
    freeBackends: (ops) => {
      for (const row of ops.freeBackends) this.#backends.set(slotOf(row.id), row);
    },
  };

  /** One after the other, and packets come in between. */
  #writeFrontends(rows: readonly FrontendRow[]): void {
    for (const row of rows) {
      this.#frontends.set(frontendKey(row), row);
      this.verify('a row of frontends');
    }
  }

  /** Another CPU may see any words of the new row beside any of the old one. */
  #writeService(row: ServiceRow): void {
    const slot = slotOf(row.id);
    const old = this.#services.get(slot);
    if (old?.id === row.id) {
      for (const half of halves(old, row)) {
        this.#services.set(slot, half);
        this.verify('half of services');
      }
    }
    this.#services.set(slot, row);
    this.verify('a row of services');
  }

  /** Every frontend leads to a service, and every row of its tables to a backend of that very service. */
  verify(phase: string): void {
    for (const row of this.#frontends.values()) {
      if (row.kind !== addressKind) this.#verifyService(row, phase);
    }
    const served = this.#served();
    for (const one of this.#steady) if (!served.has(one)) this.#steady.delete(one);
    for (const { frontend, set, service } of served.values()) {
      const met = this.#met.get(frontend);
      if (met === undefined) this.#met.set(frontend, new Map([[set, service]]));
      else met.set(set, service);
    }
  }

  #verifyService(frontend: FrontendRow, phase: string): void {
    const complain = (what: string): never => {
      throw new Error(`after ${phase}: ${frontendKey(frontend)}: ${what}`);
    };
    const service = this.#services.get(slotOf(frontend.service));
    if (service?.id !== frontend.service) return complain(`service ${frontend.service} is stale`);
    for (const index of [service.clusterSet, service.localSet]) this.#verifySet(service, index, complain);
    for (const [flag, kind] of rangeFlags) {
      const has = [...this.#ranges.values()].some((row) => row.kind === kind && row.service === service.id);
      if ((service.flags & flag) !== 0 && !has) complain(`no ranges for flag ${flag}`);
    }
  }

  #verifySet(service: ServiceRow, index: number, complain: (what: string) => never): void {
    const key = `${service.id} ${index}`;
    if (index === 0 || this.#sound.has(key)) return;
    const set = this.#sets.get(index) ?? complain(`set ${index} does not exist`);
    const seen = new Set(this.#maglev.subarray(set.maglev, set.maglev + set.maglevSize));
    if (seen.size !== set.count) complain(`${seen.size} positions for ${set.count} backends`);
    for (const position of seen) {
      if (position >= set.count) complain(`position ${position} of ${set.count}`);
      const id = this.#slots[set.slots + position]!;
      const backend = this.#backends.get(slotOf(id));
      if (backend?.id !== id || backend.service !== service.id) complain(`backend ${id} is stale`);
    }
    this.#sound.add(key);
  }

  /** Frontends that find a backend, by who dials them. */
  #served(): Map<string, Served> {
    const found = new Map<string, Served>();
    for (const row of this.#frontends.values()) {
      const service = this.#services.get(slotOf(row.service));
      if (row.kind === addressKind || service?.id !== row.service) continue;
      for (const origin of origins) {
        const set = setFor(row.kind, service, origin);
        const frontend = frontendKey(row);
        if (set !== 0) found.set(`${frontend} ${origin}`, { frontend, set, service: service.id });
      }
    }
    return found;
  }

  /** The service that this node answers with at an address, as the datapath looks it up (S-51). */
  answer(address: string, port: number, proto: number): ServiceRow | undefined {
    const at = (host: string, number: number, protocol: number): FrontendRow | undefined =>
      this.#frontends.get(frontendKey({ address: host, port: number, proto: protocol }));
    const { flags = 0 } = at(address, 0, 0) ?? {};
    const anywhere = unspecified[familyOf(address)];
    const isNodePort = (flags & addressFlags.nodePort) !== 0;
    const row = at(address, port, proto) ?? (isNodePort ? at(anywhere, port, proto) : undefined);
    return row === undefined ? undefined : this.#services.get(slotOf(row.service));
  }

  rows(): KernelRows {
    const bySlot = (a: { id: number }, b: { id: number }): number => slotOf(a.id) - slotOf(b.id);
    return {
      frontends: [...this.#frontends.values()],
      services: [...this.#services.values()].sort(bySlot),
      sets: [...this.#sets.values()],
      slots: this.#slots,
      backends: [...this.#backends.values()].sort(bySlot),
      ranges: [...this.#ranges.values()],
      devices: [...this.#devices.values()],
    };
  }

  table(first: number, size: number): Uint16Array {
    return this.#maglev.slice(first, first + size);
  }
}

/** Phases that write what a set is made of. */
const backing: ReadonlySet<Phase> = new Set(['backends', 'slots', 'tables', 'sets', 'freeBackends']);

const rangeFlags = [
  [serviceFlags.allow, rangeKinds.allow],
  [serviceFlags.deny, rangeKinds.deny],
] as const;

/** Every mixture of the words of these two rows that decide where a packet goes. */
export function halves(old: ServiceRow, row: ServiceRow): readonly ServiceRow[] {
  return [...new Set([old.clusterSet, row.clusterSet])].flatMap((clusterSet) =>
    [...new Set([old.localSet, row.localSet])].flatMap((localSet) =>
      [...new Set([old.flags, row.flags])].map((flags) => ({ ...row, clusterSet, localSet, flags })),
    ),
  );
}

/** Which list a new connection chooses from (S-39). */
export function setFor(kind: number, { flags, clusterSet, localSet }: ServiceRow, origin: string): number {
  const isLocal =
    kind === kindNumbers.ClusterIP
      ? (flags & serviceFlags.internalLocal) !== 0
      : (flags & serviceFlags.externalLocal) !== 0 && origin === 'outside';
  return isLocal ? localSet : clusterSet;
}

/** What the rows say, without ids and places, which history decides. */
export function meaning(kernel: FakeKernel): unknown {
  const rows = kernel.rows();
  const services = new Map(rows.services.map((row) => [row.id, row]));
  const sets = new Map(rows.sets.map((row) => [row.index, row]));
  const backends = new Map(rows.backends.map((row) => [row.id, row]));
  const printSet = (index: number) => {
    const set = sets.get(index);
    if (index === 0 || set === undefined) return [];
    const ids = [...rows.slots.subarray(set.slots, set.slots + set.count)];
    const chosen = ids.map((id) => backends.get(id)?.address);
    return [chosen, kernel.table(set.maglev, set.maglevSize).join('')];
  };
  const frontends = rows.frontends.map((row) => {
    const service = services.get(row.service);
    const own = rows.backends.filter(({ service: id }) => id !== 0 && id === row.service);
    const ranges = rows.ranges.filter(({ service: id }) => id !== 0 && id === row.service);
    return {
      key: frontendKey(row),
      kind: row.kind,
      address: row.flags,
      flags: service?.flags,
      affinity: service?.affinitySec,
      cluster: printSet(service?.clusterSet ?? 0),
      local: printSet(service?.localSet ?? 0),
      all: own.map((backend) => `${backend.address}:${backend.port} ${backend.lists}`).sort(),
      ranges: ranges.map(({ kind, range }) => `${kind} ${range}`).sort(),
    };
  });
  return {
    frontends: frontends.sort((a, b) => (a.key < b.key ? -1 : 1)),
    rangeCount: rows.ranges.length, // none besides these
    pods: rows.ranges
      .filter((row) => row.kind === rangeKinds.pod)
      .map((row) => row.range)
      .sort(),
    devices: [...rows.devices].sort((a, b) => a.ifindex - b.ifindex),
  };
}
