// The control road without a cluster: objects through model and table into the maps of a bench.
import { buildServicePorts } from '../../../src/model/build.ts';
import type { HostFacts } from '../../../src/model/types.ts';
import type { EndpointSliceObject, ServiceObject } from '../../../src/source/objects.ts';
import { openTables, type Tables } from '../../../src/maps/tables.ts';
import { createState, setHost, type TableState } from '../../../src/table/state.ts';
import { planService } from '../../../src/table/plan.ts';
import type { MapName } from '../../../src/abi/layout.gen.ts';
import * as abi from '../../../src/abi/layout.gen.ts';
import type { Bench } from '../kernel/bpfrun.ts';
import { program } from './transactions.ts';

export interface Described {
  readonly service: ServiceObject;
  readonly slices: readonly EndpointSliceObject[];
}

export class Control {
  readonly #state: TableState;
  readonly #tables: Tables;
  readonly #node: string;

  constructor(bench: Bench, node: string) {
    const names = Object.keys(abi.maps) as MapName[];
    this.#tables = openTables(Object.fromEntries(names.map((name) => [name, bench.map(name)])));
    this.#state = createState(this.#tables.capacity);
    this.#node = node;
  }

  setHost(facts: HostFacts): void {
    setHost(this.#state, facts);
    this.#transaction([]);
  }

  /** Services by name; undefined: deleted. */
  program(services: ReadonlyMap<string, Described | undefined>): void {
    this.#transaction([...services]);
  }

  #transaction(services: readonly (readonly [string, Described | undefined])[]): void {
    const node = { name: this.#node, zone: '', addresses: [] };
    program(this.#state, this.#tables, (transaction) => {
      for (const [name, described] of services) {
        const ports = buildServicePorts(described?.service, described?.slices ?? [], node);
        planService(this.#state, transaction, `default/${name}`, ports);
      }
    });
  }
}
