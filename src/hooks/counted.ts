// Copies counters to another map while programs go on counting: a copy first, then what was added to the old map since.
import type { BpfMap } from '../../native/index.ts';
import { carryRows, readPages, type Carried } from './carry.ts';

const wordBytes = 8;
const none = new Uint8Array();

export class CounterCarry {
  readonly #from: BpfMap;
  readonly #to: BpfMap;
  /** The copied values, by page; empty for pages of zeros. */
  readonly #copied: Uint8Array[] = [];

  constructor(from: BpfMap, to: BpfMap) {
    this.#from = from;
    this.#to = to;
  }

  /** Must be called before programs count in the new map. */
  copy(): Carried {
    const carried = carryRows(this.#from, this.#to);
    for (const { values } of readPages(this.#to))
      this.#copied.push(values.some((byte) => byte !== 0) ? values.slice() : none);
    return carried;
  }

  /** Must be called when no program counts in the old map. `add` must add atomically: programs count in the new one. */
  follow(add: (row: number, counters: BigInt64Array) => void): void {
    if (this.#from.info.valueSize !== this.#to.info.valueSize) return;
    let first = 0;
    for (const { values, count } of readPages(this.#from)) {
      const copied = this.#copied.shift();
      if (copied === undefined) return;
      const before = copied.length === 0 ? new Uint8Array(values.length) : copied;
      const size = values.length / count;
      for (let row = 0; row < count && (row + 1) * size <= before.length; row++) {
        const part = (bytes: Uint8Array): Uint8Array => bytes.subarray(row * size, (row + 1) * size);
        const added = difference(part(before), part(values), this.#from.info.valueSize);
        if (added !== undefined) add(first + row, added);
      }
      first += count;
    }
  }
}

/** Differences summed over CPUs, of rows with `size` bytes per CPU; undefined for none. */
function difference(before: Uint8Array, after: Uint8Array, size: number): BigInt64Array | undefined {
  if (Buffer.compare(before, after) === 0) return undefined;
  const words = (bytes: Uint8Array): BigInt64Array => new BigInt64Array(bytes.slice().buffer);
  const [old, now, sums] = [words(before), words(after), new BigInt64Array(size / wordBytes)];
  now.forEach((word, i) => {
    const at = i % sums.length;
    sums[at] = (sums[at] ?? 0n) + word - (old[i] ?? 0n);
  });
  return sums;
}
