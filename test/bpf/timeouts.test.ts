// The timeout of a flow in every state: the programs at look-up, and the agent's sweep, which frees expired flows.
// One table of cases (test/support/kernel/flowstates.ts) drives both; the sweep's half is in test/maps/plane.test.ts.
import '../support/run/alone.ts';
import t from 'tap';
import { decode, encode } from '../../src/abi/codec.ts';
import { slbFlow, slbFlowFlags, type SlbFlowRow } from '../../src/abi/layout.gen.ts';
import { flowLifeSec } from '../../src/maps/flowlife.ts';
import { Bench, testConfig } from '../support/kernel/bpfrun.ts';
import { bothFamilies, ip, type Addresses } from '../support/packet/addresses.ts';
import { flowStates, type FlowStateCase } from '../support/kernel/flowstates.ts';
import { protocols } from '../support/packet/packet.ts';

t.setTimeout(120_000);
const bench = new Bench();
t.teardown(() => bench.close());

const nameOf = (proto: number): 'tcp' | 'udp' | 'sctp' =>
  proto === protocols.udp ? 'udp' : proto === protocols.sctp ? 'sctp' : 'tcp';

/** A packet in mid-connection: it opens no flow unless the one that there is has run out. */
function packet(who: Addresses, proto: number, opens: boolean): Uint8Array {
  const ports = { sport: 40000, dport: 80 };
  const frame = ip(who.client, who.vip);
  if (proto === protocols.udp) return frame.udp(ports).bytes();
  if (proto === protocols.sctp) return frame.sctp({ ...ports, chunk: opens ? 1 : 0 }).bytes();
  return frame.tcp({ ...ports, flags: opens ? 'S' : 'A' }).bytes();
}

/** Puts the only connection there is into this state, both of its rows, last seen so long ago. */
function putInState(who: Addresses, { row }: FlowStateCase, ageSec: number): void {
  for (const tier of ['flows', 'half'] as const) {
    const rows = new Map<Uint8Array, SlbFlowRow>();
    bench.eachFlow(tier, who.family, (key, flow) => rows.set(key, flow));
    for (const [key, flow] of rows) {
      const { flags = 0, fin = 0, peerFin = 0, ...more } = row;
      const reply = (flow.flags & slbFlowFlags.FLOW_REPLY) !== 0;
      const ends = reply ? { fin: peerFin, peerFin: fin } : { fin, peerFin };
      const seen = (flow.seen - ageSec * testConfig.hz) >>> 0;
      bench
        .map(`slb_${tier}${who.family}`)
        .put(key, encode(slbFlow, { ...flow, ...more, ...ends, flags: flow.flags | flags, seen }));
    }
  }
}

for (const who of bothFamilies) {
  for (const state of flowStates) {
    t.test(
      `${state.what}, IPv${who.family}: the programs and the agent's sweep use the same timeout`,
      (test) => {
        const life = testConfig[state.lifeSec];
        bench.addService({
          address: who.vip,
          port: 80,
          protocol: nameOf(state.proto),
          backends: [{ address: who.one, port: 8080 }],
        });
        const afterwards = (ageSec: number): string => {
          bench.clearFlows();
          bench.run('in', packet(who, state.proto, true));
          putInState(who, state, ageSec);
          return bench.run('in', packet(who, state.proto, false)).verdict;
        };
        const opened = state.proto === protocols.udp ? 'REQUEST_NEW' : 'REQUEST_RESUMED';
        test.equal(afterwards(life - 2), 'REQUEST', 'alive shortly before');
        test.equal(afterwards(life + 1), opened, 'over shortly after');
        bench.clearFlows();
        bench.run('in', packet(who, state.proto, true));
        putInState(who, state, 0);
        bench.eachFlow('half', who.family, (_key, flow) => {
          test.equal(flowLifeSec(testConfig, state.proto, flow), life, 'and the sweep counts the same');
        });
        test.end();
      },
    );
  }
}

t.test('the sweep reads flows by the generated layout', (test) => {
  const row = decode(slbFlow, new Uint8Array(slbFlow.size));
  test.hasStrict(row, { dead: 0, ack: 0 });
  test.end();
});
