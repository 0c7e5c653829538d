// Rows that can never be written, and the Services that lack them until they change.
import { portById, type TableState } from '../table/state.ts';
import type { Shortage } from '../table/transaction.ts';
import { frontendKey } from '../table/rows.ts';
import type { Refusal } from './tables.ts';

export class Refusals {
  #known: readonly Refusal[] = [];

  add(found: readonly Refusal[]): void {
    if (found.length > 0) this.#known = [...this.#known, ...found];
  }

  /** Replaces all known refusals. */
  replace(found: readonly Refusal[]): void {
    this.#known = found;
  }

  /** The shortages of rows that are still wanted; the others are forgotten. */
  shortages(state: TableState): readonly Shortage[] {
    if (this.#known.length === 0) return [];
    this.#known = this.#known.filter(({ row }) => isWanted(state, row));
    return this.#known.map(({ map, row, reason }) => ({
      service: ownerOf(state, row),
      map,
      refusal: `${map} refuses one of its rows: ${reason}`,
    }));
  }
}

function isWanted(state: TableState, row: Refusal['row']): boolean {
  if ('ifindex' in row) return [...state.devices.rows()].includes(row);
  if ('range' in row)
    return row.service === 0
      ? [...state.podRanges.rows()].includes(row)
      : portById(state, row.service)?.ranges.includes(row) === true;
  if ('kind' in row) return state.frontends.at(frontendKey(row)) === row;
  if ('lists' in row) return portById(state, row.service)?.backends.includes(row) === true;
  return portById(state, row.id) !== undefined;
}

/** "" for rows of the host. */
function ownerOf(state: TableState, row: Refusal['row']): string {
  const id = 'service' in row ? row.service : 'id' in row ? row.id : 0;
  const port = portById(state, id)?.port;
  return port === undefined ? '' : `${port.namespace}/${port.name}`;
}
