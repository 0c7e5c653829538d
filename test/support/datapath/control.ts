// The control road without a cluster: objects through model and table into the maps of a bench.
import { buildServicePorts } from '../../../src/model/build.ts';
import type { HostFacts } from '../../../src/model/types.ts';
import type { EndpointSliceObject, ServiceObject } from '../../../src/source/objects.ts';
import { openTables, type Tables } from '../../../src/maps/tables.ts';
import { createLedger, setHost, type Ledger } from '../../../src/table/ledger.ts';
import { planService } from '../../../src/table/plan.ts';
import { closeRound, openRound, settleRound } from '../../../src/table/round.ts';
import { releaseSet } from '../../../src/table/take.ts';
import type { MapName } from '../../../src/abi/layout.gen.ts';
import * as abi from '../../../src/abi/layout.gen.ts';
import type { Bench } from '../bpfrun.ts';

export interface Described {
  readonly service: ServiceObject;
  readonly slices: readonly EndpointSliceObject[];
}

export class Control {
  readonly #ledger: Ledger;
  readonly #tables: Tables;
  readonly #node: string;

  constructor(bench: Bench, node: string) {
    const names = Object.keys(abi.maps) as MapName[];
    this.#tables = openTables(Object.fromEntries(names.map((name) => [name, bench.map(name)])));
    this.#ledger = createLedger(this.#tables.capacity);
    this.#node = node;
  }

  setHost(facts: HostFacts): void {
    setHost(this.#ledger, facts);
    this.#round([]);
  }

  /** Services by name; undefined: deleted. */
  program(services: ReadonlyMap<string, Described | undefined>): void {
    this.#round([...services]);
  }

  #round(services: readonly (readonly [string, Described | undefined])[]): void {
    const round = openRound();
    const node = { name: this.#node, zone: '', addresses: [] };
    for (const [name, described] of services) {
      const ports = buildServicePorts(described?.service, described?.slices ?? [], node);
      planService(this.#ledger, round, `default/${name}`, ports);
    }
    this.#tables.apply(closeRound(this.#ledger, round));
    settleRound(this.#ledger, round);
    for (const set of round.retired) releaseSet(this.#ledger, set);
  }
}
