// What the datapath bench sends: packets of every road, by family.
import type { VerdictName } from '../src/abi/layout.gen.ts';
import {
  backendPort,
  clientPort,
  ends,
  nodePort,
  servicePort,
  tcpAck,
  tcpSyn,
  tcpSynAck,
  type Family,
  type FrameSpec,
} from './frames.ts';
import type { Hook, ServiceKind } from './rig.ts';

export interface Case {
  readonly name: string;
  readonly frame: FrameSpec;
  readonly hooks: readonly Hook[];
  readonly verdicts: readonly VerdictName[];
  /** Whether each flow exists already. */
  readonly needs?: 'tcp' | 'udp';
  /** What service it is for; the cases of a kind share tables. */
  readonly service?: ServiceKind;
}

const request = (
  family: Family,
  protocol: 'tcp' | 'udp',
  flags = 0,
  destination = ends[family].service,
): FrameSpec => ({
  family,
  protocol,
  flags,
  destination,
  source: ends[family].client,
  sourcePort: clientPort,
  destinationPort: servicePort,
  clientIs: 'source',
});

const reply = (family: Family, protocol: 'tcp' | 'udp', flags = 0): FrameSpec => ({
  family,
  protocol,
  flags,
  source: ends[family].backend,
  destination: ends[family].client,
  sourcePort: backendPort,
  destinationPort: clientPort,
  clientIs: 'destination',
});

/** A client of the node's port, and what the backend answers to the node. */
const dial = (family: Family, flags: number): FrameSpec => ({
  ...request(family, 'tcp', flags, ends[family].node),
  destinationPort: nodePort,
});
const answer = (family: Family, flags: number): FrameSpec => ({
  ...reply(family, 'tcp', flags),
  destination: ends[family].node,
});

const strangers: Readonly<Record<Family, string>> = { 4: '10.97.0.1', 6: 'fd00:97::1' };

function plainCasesOf(family: Family): Case[] {
  return [
    {
      name: 'not ours',
      frame: request(family, 'tcp', tcpAck, strangers[family]),
      hooks: ['xdp', 'tcIn', 'tcOut'],
      verdicts: ['NOT_OURS'],
    },
    {
      name: 'established',
      frame: request(family, 'tcp', tcpAck),
      hooks: ['xdp', 'tcIn'],
      verdicts: ['REQUEST'],
      needs: 'tcp',
    },
    {
      name: 'reply',
      frame: reply(family, 'tcp', tcpAck),
      hooks: ['tcOut'],
      verdicts: ['REPLY'],
      needs: 'tcp',
    },
    {
      name: 'udp',
      frame: request(family, 'udp'),
      hooks: ['xdp', 'tcIn'],
      verdicts: ['REQUEST'],
      needs: 'udp',
    },
    { name: 'udp reply', frame: reply(family, 'udp'), hooks: ['tcOut'], verdicts: ['REPLY'], needs: 'udp' },
    // With few clients a SYN comes again and again to a half-open flow; beyond 32 768 (two rows each) every one is new.
    {
      name: 'syn',
      frame: request(family, 'tcp', tcpSyn),
      hooks: ['xdp', 'tcIn'],
      verdicts: ['REQUEST', 'REQUEST_NEW'],
    },
  ];
}

/** Frontends besides the cluster address. One source port is there for all masqueraded clients, so one client it is. */
function policyCasesOf(family: Family): Case[] {
  const [syn, ack] = [dial(family, tcpSyn), dial(family, tcpAck)];
  const opened: readonly VerdictName[] = ['REQUEST', 'REQUEST_NEW'];
  return [
    {
      name: 'affinity syn',
      frame: request(family, 'tcp', tcpSyn),
      hooks: ['xdp', 'tcIn'],
      verdicts: opened,
      service: 'affine',
    },
    { name: 'local syn', frame: syn, hooks: ['xdp', 'tcIn'], verdicts: opened, service: 'local' },
    {
      name: 'local',
      frame: ack,
      hooks: ['xdp', 'tcIn'],
      verdicts: ['REQUEST'],
      service: 'local',
      needs: 'tcp',
    },
    {
      name: 'masqueraded',
      frame: ack,
      hooks: ['tcIn'],
      verdicts: ['REQUEST'],
      service: 'node',
      needs: 'tcp',
    },
    {
      name: 'masq. reply',
      frame: answer(family, tcpAck),
      hooks: ['tcIn'],
      verdicts: ['REPLY'],
      service: 'node',
      needs: 'tcp',
    },
  ];
}

export const casesOf = (family: Family): readonly Case[] => [
  ...plainCasesOf(family),
  ...policyCasesOf(family),
];

/** What is sent at which hook, and how it is counted, until a flow of this case is established. */
export function stepsOf({
  frame,
  needs,
  service,
}: Case): readonly (readonly [Hook, FrameSpec, VerdictName])[] {
  const { family } = frame;
  if (needs === undefined) return [];
  const node = service === 'node' || service === 'local';
  return [
    ['tcIn', node ? dial(family, tcpSyn) : request(family, needs, tcpSyn), 'REQUEST_NEW'],
    service === 'node'
      ? ['tcIn', answer(family, tcpSynAck), 'REPLY']
      : ['tcOut', reply(family, needs, tcpSynAck), 'REPLY'],
    ['tcIn', node ? dial(family, tcpAck) : request(family, needs, tcpAck), 'REQUEST'],
  ];
}
