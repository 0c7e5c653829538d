// The seed of the hash (S-83): it decides which backend a client gets, is the same in every program, and moves no
// established connection.
import '../support/run/alone.ts';
import t from 'tap';
import { updateSeed } from '../../src/maps/seed.ts';
import { u32, type ServiceSpec } from '../support/kernel/rows.ts';
import { bothFamilies, end, type Addresses } from '../support/packet/addresses.ts';
import { benchOnNode } from '../support/kernel/node.ts';
import { ask, endsOf, portOf } from '../support/packet/probe.ts';

t.setTimeout(120_000);
const { bench, pod, uplink } = benchOnNode(t);
const clients = Array.from({ length: 600 }, (_, i) => 20_000 + i);
const backends = 3;

function spec(who: Addresses, more: Partial<ServiceSpec> = {}): ServiceSpec {
  const list = Array.from({ length: backends }, (_, i) => ({ address: who.one, port: 8080 + i }));
  return { address: who.vip, port: 80, protocol: 'tcp', backends: list, ...more };
}

const seed = (value: number): void => bench.map('slb_seed').put(u32(0), u32(value));
/** The backend of each client. */
function chosen(who: Addresses, hook: 'in' | 'xdp', flags = 'S'): number[] {
  const at = hook === 'in' ? pod : uplink;
  return clients.map((sport) => {
    const { packet } = bench.run(hook, ask(who.client, who.vip, 80, { sport, flags }), at);
    return portOf(endsOf(packet).target) - 8080;
  });
}
const same = (a: readonly number[], b: readonly number[]): number =>
  a.filter((one, i) => one === b[i]).length;

for (const who of bothFamilies) {
  const family = `IPv${who.family}`;
  t.test(`different seeds choose different backends, and each spreads evenly (S-83), ${family}`, (test) => {
    bench.addService(spec(who));
    const choices = [0, 1, 0x9e3779b9].map((value) => {
      seed(value);
      bench.clearFlows();
      const choice = chosen(who, 'in');
      bench.clearFlows();
      test.same(chosen(who, 'in', 'A'), choice, 'a connection whose flow is lost finds its backend');
      for (let backend = 0; backend < backends; backend++) {
        const share = choice.filter((one) => one === backend).length;
        test.ok(share > clients.length / backends / 2, `${String(share)} of ${String(clients.length)}`);
      }
      return choice;
    });
    // A third of 600, give or take 12.
    for (const [a, b] of [
      [0, 1],
      [0, 2],
      [1, 2],
    ] as const) {
      const agreed = same(choices[a] ?? [], choices[b] ?? []);
      test.ok(agreed > 120 && agreed < 280, `${String(agreed)} chosen alike`);
    }
    test.end();
  });

  t.test(`a new seed moves no established connection (S-89), ${family}`, (test) => {
    seed(1);
    bench.clearFlows();
    const before = chosen(who, 'in');
    seed(2);
    test.same(chosen(who, 'in', 'A'), before);
    bench.clearFlows();
    test.ok(same(chosen(who, 'in', 'A'), before) < 280, 'only what has lost its flow goes elsewhere');
    test.end();
  });

  t.test(`the seed also decides for clients with session affinity (S-77), ${family}`, (test) => {
    bench.addService(spec(who, { address: who.vip2, affinitySec: 600 }));
    const answered = (value: number): Set<string> => {
      seed(value);
      bench.clearAll();
      const { packet } = bench.run('in', ask(who.client, who.vip2, 80), pod);
      return new Set([endsOf(packet).target]);
    };
    const all = Array.from({ length: 40 }, (_, value) => [...answered(value)]).flat();
    const expected = Array.from({ length: backends }, (_, i) => end(who.one, 8080 + i));
    test.same([...new Set(all)].sort(), expected.sort(), 'one client, each backend by some seed');
    test.end();
  });
}

t.test("the agent's choice, the cluster's, or none", (test) => {
  const map = bench.map('slb_seed');
  const row = (): number => Buffer.from(map.get(u32(0)) ?? []).readUInt32LE();
  const known = { chosen: undefined, uid: undefined, expected: true };
  map.put(u32(0), u32(7));
  test.equal(updateSeed(map, known), false);
  test.equal(row(), 7, 'an earlier agent knew it: until the source does, it holds');
  test.equal(updateSeed(map, { ...known, uid: 'f7a3' }), true);
  const cluster = row();
  test.equal(updateSeed(map, { ...known, uid: 'f7a3' }), false, 'as it is');
  test.equal(row(), cluster);
  test.equal(updateSeed(map, { ...known, uid: '' }), false, 'the Service is being made anew');
  test.equal(row(), cluster);
  updateSeed(map, { ...known, uid: 'f7a4' });
  test.not(row(), cluster, 'another cluster');
  updateSeed(map, { ...known, uid: 'f7a4', chosen: 'f7a3' });
  test.equal(row(), cluster, 'an option goes first, and is a text like any other');
  updateSeed(map, { ...known, expected: false });
  test.equal(row(), 0, 'a folder of manifests has none');
  test.end();
});
