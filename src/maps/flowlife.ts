// Timeouts of flows: the rules of flow_life() in bpf/lib/flow.h. test/bpf/timeouts.test.ts tests both with one table of
// cases.
import { slbFlowFlags, type SlbConfigRow, type SlbFlowRow } from '../abi/layout.gen.ts';
import { protocolNumbers } from '../table/rows.ts';

export type Lifetimes = Pick<
  SlbConfigRow,
  'tcpSynSec' | 'tcpIdleSec' | 'tcpHalfClosedSec' | 'tcpClosedSec' | 'udpNewSec' | 'udpIdleSec'
>;

export type FlowState = Pick<SlbFlowRow, 'flags' | 'fin' | 'peerFin' | 'rst'>;

/** In seconds. SCTP has the timeouts of TCP: its chunks are kept as TCP flags. */
export function flowLifeSec(life: Lifetimes, proto: number, { flags, fin, peerFin, rst }: FlowState): number {
  const assured = (flags & slbFlowFlags.FLOW_ASSURED) !== 0;
  if (proto === protocolNumbers.UDP) return assured ? life.udpIdleSec : life.udpNewSec;
  if (rst !== 0 || (fin !== 0 && peerFin !== 0)) return life.tcpClosedSec;
  if (fin !== 0 || peerFin !== 0) return life.tcpHalfClosedSec;
  return assured ? life.tcpIdleSec : life.tcpSynSec;
}
