// Every state of a flow that has a life of its own: one table for the programs, the agent's sweep and its flow list.
import { slbFlowFlags, type SlbFlowRow } from '../../../src/abi/layout.gen.ts';
import type { Lifetimes } from '../../../src/maps/flowlife.ts';
import { protocols } from '../packet/packet.ts';

export interface FlowStateCase {
  readonly what: string;
  readonly proto: number;
  readonly lifeSec: keyof Lifetimes;
  readonly row: Partial<SlbFlowRow>;
}

const { FLOW_SEEN_REPLY: answered, FLOW_ASSURED } = slbFlowFlags;
const assured = answered | FLOW_ASSURED;

const connected: readonly Omit<FlowStateCase, 'proto'>[] = [
  { what: 'unanswered', lifeSec: 'tcpSynSec', row: {} },
  { what: 'answered, unconfirmed', lifeSec: 'tcpSynSec', row: { flags: answered } },
  { what: 'established', lifeSec: 'tcpIdleSec', row: { flags: assured } },
  { what: 'half-closed', lifeSec: 'tcpHalfClosedSec', row: { flags: assured, fin: 1 } },
  { what: 'half-closed by its peer', lifeSec: 'tcpHalfClosedSec', row: { flags: assured, peerFin: 1 } },
  { what: 'closed', lifeSec: 'tcpClosedSec', row: { flags: assured, fin: 1, peerFin: 1 } },
  { what: 'reset', lifeSec: 'tcpClosedSec', row: { flags: assured, rst: 1 } },
  { what: 'refused', lifeSec: 'tcpClosedSec', row: { rst: 1 } },
];

const datagrams: readonly Omit<FlowStateCase, 'proto'>[] = [
  { what: 'unanswered', lifeSec: 'udpNewSec', row: {} },
  { what: 'answered once', lifeSec: 'udpNewSec', row: { flags: answered } },
  { what: 'a stream', lifeSec: 'udpIdleSec', row: { flags: assured } },
];

export const flowStates: readonly FlowStateCase[] = [
  ...(['tcp', 'sctp'] as const).flatMap((name) =>
    connected.map((one) => ({ ...one, what: `${name.toUpperCase()} ${one.what}`, proto: protocols[name] })),
  ),
  ...datagrams.map((one) => ({ ...one, what: `UDP ${one.what}`, proto: protocols.udp })),
];
