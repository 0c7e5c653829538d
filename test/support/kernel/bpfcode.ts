// The instructions of a compiled object, as far as tests look at them: ELF64 of this machine's byte order.
import { endianness } from 'node:os';

export interface Instruction {
  readonly code: number;
  readonly dst: number;
  readonly src: number;
  readonly offset: number;
  /** Of an atomic one: what it does. */
  readonly immediate: number;
}

const executable = 4n; // SHF_EXECINSTR
const classes = { load64: 0x79, store64: 0x7b, atomic32: 0xc3, atomic64: 0xdb } as const;
const alu64 = 7; // in the low three bits
const stack = 10; // r10

/** By section. */
export function codeOf(object: Uint8Array): Map<string, Instruction[]> {
  const little = endianness() === 'LE';
  const view = new DataView(object.buffer, object.byteOffset, object.byteLength);
  const headers = Number(view.getBigUint64(0x28, little));
  const size = view.getUint16(0x3a, little);
  const header = (index: number) => {
    const at = headers + index * size;
    const long = (field: number): number => Number(view.getBigUint64(at + field, little));
    return { name: view.getUint32(at, little), flags: BigInt(long(8)), from: long(24), length: long(32) };
  };
  const names = header(view.getUint16(0x3e, little)).from;
  const found = new Map<string, Instruction[]>();
  for (let index = 0; index < view.getUint16(0x3c, little); index++) {
    const { name, flags, from, length } = header(index);
    if ((flags & executable) === 0n || length === 0) continue;
    const text = object.subarray(names + name, object.indexOf(0, names + name));
    const list = Array.from({ length: length / 8 }, (_, i): Instruction => {
      const [code = 0, registers = 0] = object.subarray(from + 8 * i, from + 8 * i + 2);
      const [low, high] = [registers & 15, registers >> 4];
      const [dst, src] = little ? [low, high] : [high, low];
      const offset = view.getInt16(from + 8 * i + 2, little);
      return { code, dst, src, offset, immediate: view.getInt32(from + 8 * i + 4, little) };
    });
    found.set(Buffer.from(text).toString(), list);
  }
  return found;
}

/**
 * Additions to 64 bits of memory: in one instruction, or loaded, changed and stored, between which others may do the
 * same.
 */
export function additions(code: readonly Instruction[]): { readonly atomic: number; readonly torn: number } {
  const torn = code.filter((load, i) => {
    if (load.code !== classes.load64 || load.src === stack) return false;
    const behind = code.slice(i + 1, i + 4);
    const changed = behind.findIndex(({ code: op, dst }) => (op & 7) === alu64 && dst === load.dst);
    const stored = behind.findIndex(
      ({ code: op, dst, src, offset }) =>
        op === classes.store64 && dst === load.src && src === load.dst && offset === load.offset,
    );
    return changed >= 0 && stored > changed;
  });
  return { atomic: code.filter(({ code: op }) => op === classes.atomic64).length, torn: torn.length };
}

/** Atomic instructions of kernel 5.12: 5.10 adds, without telling what was there before, and nothing else. */
export function newAtomics(code: readonly Instruction[]): number {
  return code.filter(
    ({ code: op, immediate }) => (op === classes.atomic32 || op === classes.atomic64) && immediate !== 0,
  ).length;
}
