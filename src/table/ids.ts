// 32-bit ids of service ports and backends: a slot of the kernel's array, and a generation that tells its tenants apart.

/** As SLB_SLOT_BITS in bpf/abi/limits.h; checked against it by the unit tests. */
const slotBits = 20;
const generations = 2 ** (32 - slotBits);

export function slotOf(id: number): number {
  return id & (2 ** slotBits - 1);
}

/** The id that the next tenant of this slot will have. */
export function successorOf(id: number): number {
  const generation = ((id >>> slotBits) + 1) % generations;
  return (slotOf(id) | (generation << slotBits)) >>> 0;
}

export interface Seed {
  /** Ids in use. */
  readonly live: Iterable<number>;
  /** Ids to start from in slots that are free: what the kernel's rows still say. */
  readonly free: Iterable<number>;
}

/** Ids of one array map. Slot 0 is never given out, so that a row of zeros is nobody's. */
export interface IdPool {
  readonly capacity: number;
  readonly used: number;
  /** The slot that has been free for longest, or undefined when none is. */
  take(): number | undefined;
  /** Only when nothing in the kernel names this id any more. */
  release(id: number): void;
}

export function createIds(rows: number, seed: Seed = { live: [], free: [] }): IdPool {
  const next = new Uint32Array(rows).map((_, slot) => slot); // id to give out, by slot
  const taken = new Uint8Array(rows);
  for (const id of seed.free) next[slotOf(id)] = id;
  for (const id of seed.live) taken[slotOf(id)] = 1;
  const free = createQueue(rows);
  for (let slot = 1; slot < rows; slot++) if (taken[slot] === 0) free.push(slot);
  const capacity = rows - 1;
  return {
    capacity,
    get used() {
      return capacity - free.length;
    },
    take: () => {
      const slot = free.shift();
      return slot === undefined ? undefined : next[slot];
    },
    release: (id) => {
      next[slotOf(id)] = successorOf(id);
      free.push(slotOf(id));
    },
  };
}

interface Queue {
  readonly length: number;
  push(value: number): void;
  shift(): number | undefined;
}

/** First in, first out: a slot rests as long as it can before its next tenant. */
function createQueue(capacity: number): Queue {
  const ring = new Uint32Array(capacity);
  let head = 0;
  let length = 0;
  return {
    get length() {
      return length;
    },
    push: (value) => {
      ring[(head + length++) % capacity] = value;
    },
    shift: () => {
      if (length === 0) return undefined;
      const value = ring[head]!;
      head = (head + 1) % capacity;
      length--;
      return value;
    },
  };
}
