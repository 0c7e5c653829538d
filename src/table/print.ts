// Rows as text: for scenario files, and for whoever wants to see the kernel's tables.
import { slotOf } from './ids.ts';
import { addressKind, anyEndpoint, kindNumbers, protocolNumbers, ready, type KernelRows } from './rows.ts';

const protocolNames = new Map<number, string>(
  Object.entries(protocolNumbers).map(([name, no]) => [no, name]),
);
const kindNames = new Map<number, string>(
  Object.entries(kindNumbers).map(([name, number]) => [number, name]),
);

/** One line a row, in the order in which a packet meets them. Free rows are not shown. */
export function printRows(rows: KernelRows): string {
  return [...frontendLines(rows), ...serviceLines(rows), ...backendLines(rows)].join('\n');
}

function frontendLines(rows: KernelRows): readonly string[] {
  return rows.frontends
    .map((row) =>
      row.kind === addressKind
        ? `frontend ${row.address} address`
        : `frontend ${place(row)} ${kindNames.get(row.kind) ?? row.kind} service=${printId(row.service)}`,
    )
    .sort();
}

function serviceLines(rows: KernelRows): readonly string[] {
  const named = new Set(rows.frontends.map((row) => row.service));
  const sets = new Map(rows.sets.map((row) => [row.index, row]));
  return rows.services
    .filter((row) => named.has(row.id))
    .map((row) => {
      const set = row.set === 0 ? undefined : sets.get(row.set);
      const ids = set === undefined ? [] : [...rows.slots.subarray(set.slots, set.slots + set.count)];
      const chosen = set === undefined ? 'none' : `${ids.map(printId).join(',')} table=${set.maglevSize}`;
      const any = (row.flags & anyEndpoint) !== 0 ? ' any-endpoint' : '';
      const affinity = row.affinitySec === 0 ? '' : ` affinity=${row.affinitySec}s`;
      return `service ${printId(row.id)} backends=${chosen}${any}${affinity}`;
    });
}

function backendLines(rows: KernelRows): readonly string[] {
  return rows.backends
    .filter((row) => row.service !== 0)
    .map((row) => {
      const state = row.state === ready ? 'ready' : 'draining';
      return `backend ${printId(row.id)} ${place(row)} ${state} service=${printId(row.service)}`;
    });
}

function place(row: { address: string; port: number; proto: number }): string {
  const host = row.address.includes(':') ? `[${row.address}]` : row.address;
  return `${host}:${row.port}/${protocolNames.get(row.proto) ?? row.proto}`;
}

/** slot.generation; the first generation is not written. */
export function printId(id: number): string {
  const slot = slotOf(id);
  return id === slot ? `${slot}` : `${slot}.${(id - slot) / 2 ** 20}`;
}
