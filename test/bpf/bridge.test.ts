// Only frames for this host are translated. Frames for others, shown by a bridge, a switch or promiscuous mode, pass
// unchanged.
import '../support/run/alone.ts';
import t from 'tap';
import { indexOf, ip as run } from '../support/run/alone.ts';
import { ownMac } from '../support/kernel/rows.ts';
import { bothFamilies, ip } from '../support/packet/addresses.ts';
import { benchOnNode } from '../support/kernel/node.ts';

t.setTimeout(120_000);
const { bench, devices, uplink } = benchOnNode(t);
const bridgeMac = '02:00:00:00:0b:0b';
run(
  'link add br0 type bridge',
  `link set br0 address ${bridgeMac}`,
  'link add port0 type veth peer name port0-far',
  `link set port0 address 02:00:00:00:0c:0c`,
  'link set port0 master br0',
  ...['br0', 'port0', 'port0-far'].map((device) => `link set ${device} up`),
);
const port = { ifindex: indexOf('port0') };
bench.addDevice(indexOf('br0'), { role: 'pod', mac: bridgeMac });
bench.addDevice(port.ifindex, { role: 'pod', mac: '02:00:00:00:0c:0c', bridge: indexOf('br0') });

const notOurs = ['ff:ff:ff:ff:ff:ff', '01:00:5e:00:00:01', '33:33:00:00:00:01', '02:00:00:00:0d:0d'];

for (const who of bothFamilies) {
  const service = {
    address: who.vip,
    port: 80,
    protocol: 'tcp',
    backends: [{ address: who.one, port: 8080 }],
  } as const;
  bench.addService(service);
  bench.addService({ ...service, kind: 'external', address: who.external });
  const frame = (dst: string, to: string = who.vip, flags = 'S'): Uint8Array =>
    ip(who.client, to, {}, { dst }).tcp({ sport: 40000, dport: 80, flags }).bytes();

  t.test(`frames for other hosts open no flow and match none, IPv${String(who.family)}`, (test) => {
    for (const [where, own] of [
      [uplink, ownMac],
      [{ ifindex: devices.pod }, ownMac],
      [port, '02:00:00:00:0c:0c'],
      [port, bridgeMac],
    ] as const) {
      bench.clearAll();
      for (const to of [who.vip, who.external]) {
        for (const mac of notOurs) {
          const outcome = bench.run('in', frame(mac, to), where);
          test.equal(
            `${outcome.verdict} ${outcome.action}`,
            'OTHER_HOST next',
            `${mac} at ${String(where.ifindex)}`,
          );
          test.same(outcome.packet, frame(mac, to));
        }
      }
      test.equal(bench.flows(who.family).size, 0, 'no flow');
      test.equal(bench.run('in', frame(own), where).verdict, 'REQUEST_NEW', `for this host: ${own}`);
      for (const mac of notOurs)
        test.equal(
          bench.run('in', frame(mac, who.vip, 'A'), where).verdict,
          'OTHER_HOST',
          'nor is it of a flow',
        );
      const reply = ip(who.one, who.client).tcp({ sport: 8080, dport: 40000, flags: 'SA' }).bytes();
      if (where !== uplink)
        test.equal(
          bench.run('out', reply, { ...where, forwarded: bench.canForward() }).verdict,
          'REPLY',
          'at egress the host has chosen the address',
        );
    }
    const bridged = bench.run('in', frame(bridgeMac), uplink);
    test.equal(bridged.verdict, 'OTHER_HOST', "a bridge's address is ours at its ports alone");
    test.end();
  });

  t.test(
    `XDP leaves frames for other hosts to tc, IPv${String(who.family)}`,
    { skip: bench.canPlace('xdp') ? false : 'XDP is always at lo' },
    (test) => {
      bench.clearAll();
      for (const mac of notOurs) test.equal(bench.run('xdp', frame(mac), uplink).verdict, 'LEFT_TO_TC', mac);
      test.equal(bench.flows(who.family).size, 0, 'no flow');
      test.end();
    },
  );
}
