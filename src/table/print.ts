// Rows as text, for scenario files and for debugging.
import { joinHostPort } from '../net/hostport.ts';
import { slotOf } from './ids.ts';
import { addressFlags } from './addresses.ts';
import {
  addressKind,
  kindNumbers,
  lists,
  protocolNumbers,
  rangeKinds,
  serviceFlags,
  type KernelRows,
  type SetRow,
} from './rows.ts';

const protocolNames = new Map<number, string>(
  Object.entries(protocolNumbers).map(([name, no]) => [no, name]),
);
const kindNames = new Map<number, string>(
  Object.entries(kindNumbers).map(([name, number]) => [number, name]),
);

/** One line per row, in the order in which a packet looks them up. Free rows are left out. */
export function printRows(rows: KernelRows): string {
  return [
    ...frontendLines(rows),
    ...serviceLines(rows),
    ...rangeLines(rows),
    ...backendLines(rows),
    ...deviceLines(rows),
  ].join('\n');
}

function frontendLines(rows: KernelRows): readonly string[] {
  return rows.frontends
    .map((row) =>
      row.kind === addressKind
        ? `frontend ${row.address} address ${flagNames(row.flags, addressNames)}`
        : `frontend ${place(row)} ${kindNames.get(row.kind) ?? row.kind} service=${printId(row.service)}`,
    )
    .sort();
}

const addressNames = Object.entries(addressFlags).map(([name, flag]) => [kebab(name), flag] as const);
const serviceNames = Object.entries(serviceFlags).map(([name, flag]) => [kebab(name), flag] as const);
const listNames = Object.entries(lists);

function kebab(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

function flagNames(flags: number, names: readonly (readonly [string, number])[]): string {
  return names
    .filter(([, flag]) => (flags & flag) !== 0)
    .map(([name]) => name)
    .join(' ');
}

function serviceLines(rows: KernelRows): readonly string[] {
  const named = new Set(rows.frontends.map((row) => row.service));
  const sets = new Map(rows.sets.map((row) => [row.index, row]));
  const print = (name: string, index: number): string => {
    const set = sets.get(index);
    return index === 0 || set === undefined ? '' : `${name}=${printSet(set, rows.slots)}`;
  };
  return rows.services
    .filter((row) => named.has(row.id))
    .map((row) => {
      const chosen = [print('cluster', row.clusterSet), print('local', row.localSet)];
      const affinity = row.affinitySec === 0 ? '' : `affinity=${row.affinitySec}s`;
      const words = [...chosen, flagNames(row.flags, serviceNames), affinity].filter((word) => word !== '');
      return `service ${printId(row.id)} ${words.join(' ') || 'no-endpoint'}`;
    });
}

function printSet(set: SetRow, slots: Uint32Array): string {
  const ids = [...slots.subarray(set.slots, set.slots + set.count)];
  return `${ids.map(printId).join(',')}/${set.maglevSize}`;
}

function rangeLines(rows: KernelRows): readonly string[] {
  const names = new Map<number, string>(Object.entries(rangeKinds).map(([name, kind]) => [kind, name]));
  return rows.ranges
    .map(({ kind, service, range }) => {
      const whose = service === 0 ? '' : ` service=${printId(service)}`;
      return `range ${names.get(kind) ?? kind} ${range}${whose}`;
    })
    .sort();
}

function backendLines(rows: KernelRows): readonly string[] {
  return rows.backends
    .filter((row) => row.service !== 0)
    .map((row) => {
      const member = flagNames(row.lists, listNames) || 'keeps-flows';
      return `backend ${printId(row.id)} ${place(row)} ${member} service=${printId(row.service)}`;
    });
}

function deviceLines(rows: KernelRows): readonly string[] {
  return [...rows.devices]
    .sort((a, b) => a.ifindex - b.ifindex)
    .map(({ ifindex, role, addr4, addr6, mac }) =>
      ['device', ifindex, role, addr4, addr6, mac]
        .filter((word) => word !== undefined && word !== '')
        .join(' '),
    );
}

function place(row: { address: string; port: number; proto: number }): string {
  return `${joinHostPort(row.address, row.port)}/${protocolNames.get(row.proto) ?? row.proto}`;
}

/** SLOT.GENERATION, or SLOT for the first generation. */
export function printId(id: number): string {
  const slot = slotOf(id);
  return id === slot ? `${slot}` : `${slot}.${(id - slot) / 2 ** 20}`;
}
