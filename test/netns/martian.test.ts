// Forged sources at external frontends, whose packets are masqueraded past the stack and its rp_filter: pods and a
// machine outside send datagrams by raw sockets, under their own addresses and under others'.
//
//   out ─ eth0 ───── router ───── eth0 ── node ──┬─ cni0 ─┬─ liar, web (the backend)
//   172.20.1.2                172.20.2.2  sluice │        └─ victim
//                                                └─ ptp ──── routed
import { createInterface } from 'node:readline';
import t from 'tap';
import { ip } from '../support/packet/addresses.ts';
import { verdicts } from '../support/lab/echo.ts';
import { type Machine, families, type FamilyKey } from '../support/lab/lab.ts';
import type { Netns } from '../support/actors/netns.ts';
import { serviceDocument, sliceDocuments } from '../support/kube/manifests.ts';
import { end, until } from '../support/run/process.ts';
import { rawScript, sendRaw } from '../support/lab/rawsend.ts';
import { oneNode } from '../support/lab/onenode.ts';

t.setTimeout(300_000);
const { lab, node, folder, pods, startAgent, outside } = await oneNode(t, 'out');
const [out] = outside;
const [liar, web, victim] = await pods('liar', 'web', 'victim');
const routed = await node.pod('routed', 'ptp');

const port = 9999;
const external = { v4: '172.30.1.10', v6: 'fd00:30:1::10' };
const balancer = { v4: '172.30.1.11', v6: 'fd00:30:1::11' };
folder.put('web.yaml', [
  serviceDocument({
    name: 'web',
    type: 'LoadBalancer',
    clusterIPs: ['10.96.0.10', 'fd00:96::10'],
    externalIPs: [external.v4, external.v6],
    ingress: [{ ip: balancer.v4 }, { ip: balancer.v6 }],
    sourceRanges: [`${victim.v4}/32`, `${victim.v6}/128`],
    ports: [{ name: 'udp', protocol: 'UDP', port: 53 }],
  }),
  ...sliceDocuments({
    service: 'web',
    endpoints: [{ address: web.v4 }, { address: web.v6 }],
    ports: [{ name: 'udp', protocol: 'UDP', port }],
  }),
]);

/** What the node reaches by another device than the one it comes in by: its way back is another. */
const detour = { v4: '10.77.0.1', v6: 'fd00:77::1' };
await node.netns.ip(['route add 10.77.0.0/16 dev cni0', 'route add fd00:77::/64 dev cni0']);

// All that the backend gets, as text.
const arrived = new Set<string>();
const listener = web.netns.spawn(
  ['python3', rawScript, '--listen', String(port), '--count', '100000', '--patient'],
  {
    stdio: ['ignore', 'pipe', 'inherit'],
  },
);
t.teardown(() => end(listener));
if (listener.stdout === null) throw new Error('no stdout');
createInterface(listener.stdout).on('line', (line) =>
  arrived.add(Buffer.from(line, 'hex').toString('latin1')),
);

let sport = 20_000;
interface Datagram {
  readonly from: Machine;
  readonly as: string;
  readonly to: string;
  readonly text: string;
}

async function send(datagrams: readonly Datagram[]): Promise<void> {
  for (const from of new Set(datagrams.map((one) => one.from))) {
    const frames = datagrams
      .filter((one) => one.from === from)
      .map(({ as, to, text }) => ip(as, to).udp({ sport: ++sport, dport: 53 }).payload(text).bytes());
    await sendRaw(from, frames);
  }
}

/** A sender, the source that it claims, and the rp_filter settings that accept it. */
interface Claim {
  readonly what: string;
  readonly from: Machine;
  readonly as: (family: FamilyKey) => string;
  readonly at?: Readonly<Record<FamilyKey, string>>;
  readonly believed: (filter: number, family: FamilyKey) => boolean;
}

const senders = [liar, routed];
const unlessStrict = (filter: number): boolean => filter !== 1;
const claims: readonly Claim[] = [
  ...[...senders, out, victim].map((from) => ({
    what: `${from.name} as itself`,
    from,
    as: (family: FamilyKey) => from[family],
    believed: () => true,
  })),
  {
    what: 'victim as itself, at the balancer',
    from: victim,
    as: (family) => victim[family],
    at: balancer,
    believed: () => true,
  },
  ...senders.map((from) => ({
    what: `${from.name} as itself, at the balancer`,
    from,
    as: (family: FamilyKey) => from[family],
    at: balancer,
    believed: () => false,
  })),
  {
    what: 'routed as a pod of the bridge',
    from: routed,
    as: (family) => victim[family],
    believed: unlessStrict,
  },
  {
    what: 'routed as a pod of the bridge, at the balancer',
    from: routed,
    as: (family) => victim[family],
    at: balancer,
    believed: unlessStrict,
  },
  {
    what: 'liar as a pod with a cable of its own',
    from: liar,
    as: (family) => routed[family],
    believed: unlessStrict,
  },
  // A bridge does not tell its ports apart: nor does rp_filter.
  { what: 'liar as its neighbour', from: liar, as: (family) => victim[family], believed: () => true },
  ...senders.map((from) => ({
    what: `${from.name} as a machine outside`,
    from,
    as: (family: FamilyKey) => out[family],
    believed: unlessStrict,
  })),
  ...[...senders, out].map((from) => ({
    what: `${from.name} as the node`,
    from,
    as: (family: FamilyKey) => node[family],
    believed: () => false,
  })),
  {
    what: 'out as a pod',
    from: out,
    as: (family) => victim[family],
    believed: (filter, family) => filter !== 1 || family === 'v6',
  },
  {
    what: 'out, to which another way leads',
    from: out,
    as: (family) => detour[family],
    believed: (filter, family) => filter !== 1 || family === 'v6',
  },
];

async function setFilter(netns: Netns, filter: number): Promise<void> {
  await netns.run([
    'sh',
    '-c',
    `for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo ${String(filter)} > $f; done`,
  ]);
}
await setFilter(lab.router, 0); // sends on whatever it is given

for (const filter of [1, 2, 0]) {
  t.test(
    `rp_filter ${String(filter)}: which sources are accepted at external frontends (S-61, S-64)`,
    async (test) => {
      await setFilter(node.netns, filter);
      const agent = await startAgent({ flags: ['--xdp', 'off'] });
      test.teardown(() => agent.stop());
      arrived.clear();
      const before = await verdicts(agent); // goes on from the last agent's
      const cases = claims.flatMap((claim) =>
        families.map((family) => ({ ...claim, family, text: `${claim.what}, IP${family}` })),
      );
      await send(
        cases.map(({ from, as, at = external, family, text }) => ({
          from,
          as: as(family),
          to: at[family],
          text,
        })),
      );
      const last = { from: victim, as: victim.v4, to: external.v4, text: 'the last' };
      await until('the last datagram', async () => {
        await send([last]);
        return arrived.has('the last') ? true : undefined;
      });
      for (const { text, believed, family } of cases)
        test.equal(arrived.has(text), believed(filter, family), text);
      const expected = cases.filter(
        ({ believed, family, at }) => !believed(filter, family) && at === undefined,
      );
      const martians = ((await verdicts(agent))['DROP_MARTIAN'] ?? 0) - (before['DROP_MARTIAN'] ?? 0);
      const atBalancer = filter === 1 ? 2 : 0; // the rest is no victim's, and denied
      test.equal(martians, expected.length + atBalancer, 'what was dropped is counted');
    },
  );
}
