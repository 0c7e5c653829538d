// The kernel's tables in memory: applies operations phase by phase, and looks after every step at what a packet would
// meet. Shared by the tests of the table room.
import { phases, type Phase } from '../../src/table/order.ts';
import { slotOf } from '../../src/table/ids.ts';
import {
  frontendKey,
  type BackendRow,
  type FrontendRow,
  type KernelRows,
  type Ops,
  type ServiceRow,
  type SetRow,
} from '../../src/table/rows.ts';

export class FakeKernel {
  readonly #frontends = new Map<string, FrontendRow>();
  readonly #services = new Map<number, ServiceRow>();
  readonly #backends = new Map<number, BackendRow>();
  readonly #sets = new Map<number, SetRow>();
  readonly #slots = new Uint32Array(4096);
  readonly #maglev = new Uint16Array(1 << 20).fill(0xffff);

  apply(ops: Ops): void {
    for (const phase of phases) {
      this.#phases[phase](ops);
      this.verify(phase);
    }
  }

  readonly #phases: Readonly<Record<Phase, (ops: Ops) => void>> = {
    dropFrontends: (ops) => {
      for (const row of ops.dropFrontends) this.#frontends.delete(frontendKey(row));
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
    services: (ops) => {
      for (const row of ops.services) this.#services.set(slotOf(row.id), row);
    },
    frontends: (ops) => {
      for (const row of ops.frontends) this.#frontends.set(frontendKey(row), row);
    },
    freeServices: (ops) => {
      for (const row of ops.freeServices) this.#services.set(slotOf(row.id), row);
    },
    freeBackends: (ops) => {
      for (const row of ops.freeBackends) this.#backends.set(slotOf(row.id), row);
    },
  };

  /** Every frontend leads to a service, and every row of its table to a backend of that very service. */
  verify(phase: string): void {
    for (const row of this.#frontends.values()) {
      if (row.service !== 0) this.#verifyService(row, phase);
    }
  }

  #verifyService(frontend: FrontendRow, phase: string): void {
    const complain = (what: string): never => {
      throw new Error(`after ${phase}: ${frontendKey(frontend)}: ${what}`);
    };
    const service = this.#services.get(slotOf(frontend.service));
    if (service?.id !== frontend.service) return complain(`service ${frontend.service} is stale`);
    if (service.set === 0) return;
    const set = this.#sets.get(service.set) ?? complain(`set ${service.set} does not exist`);
    const seen = new Set(this.#maglev.subarray(set.maglev, set.maglev + set.maglevSize));
    if (seen.size !== set.count) complain(`${seen.size} positions for ${set.count} backends`);
    for (const position of seen) {
      if (position >= set.count) complain(`position ${position} of ${set.count}`);
      const id = this.#slots[set.slots + position]!;
      const backend = this.#backends.get(slotOf(id));
      if (backend?.id !== id || backend.service !== service.id) complain(`backend ${id} is stale`);
    }
  }

  rows(): KernelRows {
    const bySlot = (a: { id: number }, b: { id: number }): number => slotOf(a.id) - slotOf(b.id);
    return {
      frontends: [...this.#frontends.values()],
      services: [...this.#services.values()].sort(bySlot),
      sets: [...this.#sets.values()],
      slots: this.#slots,
      backends: [...this.#backends.values()].sort(bySlot),
    };
  }

  table(first: number, size: number): Uint16Array {
    return this.#maglev.slice(first, first + size);
  }
}
