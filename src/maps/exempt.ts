// slb_exempt: cgroups whose sockets are not translated, with the reason.
import type { BpfMap } from '../../native/index.ts';
import { slbExemption } from '../abi/layout.gen.ts';
import type { ExemptReason } from '../model/exempt.ts';
import { deleteRows, putRows, readPages, writeWord, type Page } from './bpfmap.ts';
import type { Encode } from './rows.ts';

const reasonNumbers: Readonly<Record<ExemptReason, number>> = {
  pod: slbExemption.EXEMPT_POD,
  namespace: slbExemption.EXEMPT_NAMESPACE,
  mesh: slbExemption.EXEMPT_MESH,
  option: slbExemption.EXEMPT_OPTION,
};

interface ExemptRow {
  readonly cgroup: number; // id
  readonly reason: number;
}

const encodeCgroup: Encode<ExemptRow> = ({ cgroup }, bytes, offset) => {
  bytes.set(new Uint8Array(BigUint64Array.of(BigInt(cgroup)).buffer), offset); // host byte order
};
const encodeReason: Encode<ExemptRow> = ({ reason }, bytes, offset) => writeWord(bytes, offset, reason);

/** Makes the map hold exactly these cgroup ids. Returns the number of rows written or deleted. */
export function writeExempt(map: BpfMap, wanted: ReadonlyMap<number, ExemptReason>): number {
  const held = new Map([...readPages(map)].flatMap(rowsOf).map(({ cgroup, reason }) => [cgroup, reason]));
  const rows = [...wanted].map(([cgroup, reason]) => ({ cgroup, reason: reasonNumbers[reason] }));
  const put = rows.filter(({ cgroup, reason }) => held.get(cgroup) !== reason);
  const gone = [...held].flatMap(([cgroup, reason]) => (wanted.has(cgroup) ? [] : { cgroup, reason }));
  putRows(map, put, encodeCgroup, encodeReason);
  deleteRows(map, gone, encodeCgroup);
  return put.length + gone.length;
}

function rowsOf({ keys, values, count }: Page): readonly ExemptRow[] {
  const cgroups = new BigUint64Array(keys.slice().buffer, 0, count);
  const reasons = new Uint32Array(values.slice().buffer, 0, count);
  return Array.from(cgroups, (cgroup, index) => ({ cgroup: Number(cgroup), reason: reasons[index] ?? 0 }));
}
