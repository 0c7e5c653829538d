// Maglev consistent hashing (Eisenbud et al., NSDI 2016, section 3.4). A row of a table is a position in a list of
// backends.

/** Primes, so that every skip visits all rows; each about twice the last. */
const ladder = [251, 509, 1021, 2039, 4093, 8191, 16381, 32749, 65521, 131071] as const;
const maxBackends = 0xffff; // of one set
const rowsPerBackend = 100; // shares then differ by 1 % at most
const empty = 0xffff; // positions are 16 bits in the kernel

/**
 * Table sizes for this many backends, largest first: every node uses the first, and the others only when its map is
 * nearly full. One backend more or less rarely changes the first.
 */
export function tableSizes(backends: number): readonly number[] {
  if (backends > maxBackends) return [];
  const wanted = ladder.findIndex((size) => size >= backends * rowsPerBackend);
  const largest = wanted < 0 ? ladder.length - 1 : wanted;
  return ladder
    .slice(0, largest + 1)
    .filter((size) => size >= backends)
    .reverse();
}

/**
 * Fills the table in turns: each backend takes the next free row of its own permutation. The turns follow the order of
 * `identities`, which must be sorted, so that all nodes build the same table.
 */
export function buildTable(identities: readonly string[], size: number): Uint16Array {
  const count = identities.length;
  const table = new Uint16Array(size).fill(count === 1 ? 0 : empty);
  if (count < 2) return table;
  const next = new Uint32Array(count);
  const skip = new Uint32Array(count);
  for (let i = 0; i < count; i++) {
    next[i] = hash(identities[i]!, 0x9747b28c) % size;
    skip[i] = (hash(identities[i]!, 0x5bd1e995) % (size - 1)) + 1;
  }
  for (let filled = 0, turn = 0; filled < size; filled++) {
    let row = next[turn]!;
    const step = skip[turn]!;
    while (table[row] !== empty) row = row + step < size ? row + step : row + step - size;
    table[row] = turn;
    next[turn] = row;
    turn = turn + 1 < count ? turn + 1 : 0;
  }
  return table;
}

/** MurmurHash3_x86_32 over the code units of the text, which are ASCII. */
function hash(text: string, seed: number): number {
  let h = seed;
  for (let i = 0; i < text.length; i += 4) {
    let word = 0;
    for (let j = Math.min(i + 3, text.length - 1); j >= i; j--) word = (word << 8) | text.charCodeAt(j);
    word = Math.imul(word, 0xcc9e2d51);
    word = (word << 15) | (word >>> 17);
    h ^= Math.imul(word, 0x1b873593);
    h = (h << 13) | (h >>> 19);
    h = (Math.imul(h, 5) + 0xe6546b64) | 0;
  }
  h ^= text.length;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
