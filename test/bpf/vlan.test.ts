// VLAN tags inside the frame: kept where a packet leaves by the device it came by, removed where it leaves by
// another. (Of received packets the kernel keeps the outermost tag in the skb; a test run cannot.)
import '../support/run/alone.ts';
import t from 'tap';
import { bothFamilies, end, ip } from '../support/packet/addresses.ts';
import { show } from '../support/packet/dissect.ts';
import { benchOnNode } from '../support/kernel/node.ts';

const { devices, bench, uplink } = benchOnNode(t);

function tagged(packet: Uint8Array, types: readonly number[]): Uint8Array {
  const tags = types.flatMap((type, i) => [type >> 8, type & 255, 0, i + 1]);
  return Uint8Array.from([...packet.subarray(0, 12), ...tags, ...packet.subarray(12)]);
}

for (const who of bothFamilies) {
  const nodePort = 30_080 + who.family;
  const backends = [{ address: who.far, port: 8080 }];
  bench.addService({ address: who.node, port: nodePort, kind: 'node', protocol: 'tcp', backends });
  bench.addService({
    address: who.vip,
    port: 80,
    protocol: 'tcp',
    backends: [{ address: who.one, port: 8080 }],
  });
  bench.addService({ address: who.empty, port: 80, protocol: 'tcp', backends: [] });

  for (const [title, types] of [
    ['802.1Q', [0x8100]],
    ['802.1ad and 802.1Q', [0x88a8, 0x8100]],
  ] as const) {
    const notes = types.map((_, i) => `vlan=${i + 1} `).join('');
    const syn = (src: string, dst: string, dport: number): Uint8Array =>
      tagged(ip(src, dst).tcp({ sport: 40000, dport, flags: 'S' }).bytes(), types);
    const at = (packet: Uint8Array) => bench.run('in', packet, uplink);

    t.test(
      `a masqueraded packet loses its VLAN tags, in both directions (S-64), ${title}, IPv${who.family}`,
      (test) => {
        bench.clearFlows();
        const there = at(syn(who.client, who.node, nodePort));
        test.strictSame([there.verdict, there.action], ['REQUEST_NEW', 'redirect']);
        test.equal(
          show(there.packet).replace(/ TCP.*/, ''),
          `${end(who.node, 40000)} > ${end(who.far, 8080)}`,
        );
        const answer = ip(who.far, who.node).tcp({ sport: 8080, dport: 40000, flags: 'SA' }).bytes();
        const back = at(tagged(answer, types));
        test.strictSame([back.verdict, back.action], ['REPLY', 'redirect']);
        test.equal(
          show(back.packet).replace(/ TCP.*/, ''),
          `${end(who.node, nodePort)} > ${end(who.client, 40000)}`,
        );
        test.notMatch(show(there.packet) + show(back.packet), /sum[!~]/);
        test.end();
      },
    );

    t.test(
      `rejected and hairpin packets keep their VLAN tags (S-43, S-66), ${title}, IPv${who.family}`,
      (test) => {
        bench.clearFlows();
        const refused = at(syn(who.client, who.empty, 80));
        test.equal(refused.verdict, 'REFUSED_RST');
        test.match(show(refused.packet), `${notes}${end(who.empty, 80)} > ${end(who.client, 40000)} TCP`);
        const self = bench.run('in', syn(who.one, who.vip, 80), { ifindex: devices.pod });
        test.equal(self.verdict, 'HAIRPIN');
        test.match(show(self.packet), `${notes}${end(who.vip, 40000)} > ${end(who.one, 8080)} TCP`);
        test.end();
      },
    );
  }
}
