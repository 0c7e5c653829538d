// 32-bit ids of service ports and backends: the slot in the array map, and a generation that tells the successive users
// of a slot apart.

/** As SLB_SLOT_BITS in bpf/abi/limits.h; checked against it by the unit tests. */
const slotBits = 20;
const chunk = 512; // slots opened at a time
const generations = 2 ** (32 - slotBits);

export function slotOf(id: number): number {
  return id & (2 ** slotBits - 1);
}

/** The id that the next user of this slot will have. */
export function successorOf(id: number): number {
  const generation = ((id >>> slotBits) + 1) % generations;
  return (slotOf(id) | (generation << slotBits)) >>> 0;
}

export interface Seed {
  /** Ids in use. */
  readonly live: Iterable<number>;
  /** Next ids of free slots, as found in the rows of the kernel. */
  readonly free: Iterable<number>;
}

/** Ids of one array map. Slot 0 is never used, so that id 0 in a row of zeros names nothing. */
export interface IdPool {
  readonly capacity: number;
  readonly used: number;
  /** One more than the highest slot that was ever used. */
  readonly end: number;
  /** An id in the slot that has been free for longest; undefined when none is free. */
  take(): number | undefined;
  /** Must be called only when no row in the kernel names this id any more. */
  release(id: number): void;
}

export function createIds(rows: number, seed: Seed = { live: [], free: [] }): IdPool {
  const next = new Uint32Array(rows).map((_, slot) => slot); // id to give out, by slot
  const taken = new Uint8Array(rows);
  for (const id of seed.free) next[slotOf(id)] = id;
  for (const id of seed.live) taken[slotOf(id)] = 1;
  const free = createQueue(rows);
  const capacity = rows - 1;
  let used = 0;
  let end = 1; // of the slots that have been opened
  const open = (to: number): void => {
    for (; end < to; end++)
      if (taken[end] === 0) free.push(end);
      else used++;
  };
  // Slots are opened in chunks, when all others are taken: the size of the map follows from the highest slot.
  let highest = lastSlot(seed.live);
  open(Math.min(rows, Math.max(chunk, highest + 1, lastSlot(seed.free) + 1)));
  return {
    capacity,
    get used() {
      return used;
    },
    get end() {
      return highest + 1;
    },
    take: () => {
      if (free.length === 0) open(Math.min(rows, end + chunk));
      const slot = free.shift();
      if (slot === undefined) return undefined;
      used++;
      highest = Math.max(highest, slot);
      return next[slot];
    },
    release: (id) => {
      used--;
      next[slotOf(id)] = successorOf(id);
      free.push(slotOf(id));
    },
  };
}

function lastSlot(ids: Iterable<number>): number {
  let last = 0;
  for (const id of ids) last = Math.max(last, slotOf(id));
  return last;
}

interface Queue {
  readonly length: number;
  push(value: number): void;
  shift(): number | undefined;
}

/** First in, first out, so that a slot is free for as long as possible before its next use. */
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
