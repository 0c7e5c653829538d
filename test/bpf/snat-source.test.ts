// The source address of masqueraded packets is the one that the kernel would choose towards the next hop (S-68): a
// device may have several subnets, an address that moves between nodes, and IPv6 prefixes of different scope.
import '../support/run/alone.ts';
import t from 'tap';
import { indexOf, ip } from '../support/run/alone.ts';
import { bothFamilies, end } from '../support/packet/addresses.ts';
import { benchOnNode, choosesSource } from '../support/kernel/node.ts';
import { ask, endsOf } from '../support/packet/probe.ts';
import { familyOf } from '../../src/net/ip.ts';

t.setTimeout(120_000);
const { bench, uplink } = benchOnNode(t);
ip(
  'link add wide0 type veth peer name wide0-far',
  'link set wide0 up',
  'link set wide0-far up',
  'addr add 203.0.113.77/32 dev wide0', // floats; the kernel has it as the first
  'addr add 172.30.0.2/24 dev wide0',
  'addr add 172.31.0.2/24 dev wide0',
  'addr add 172.31.0.3/24 dev wide0',
  'addr add fd77::2/64 dev wide0 nodad',
  'addr add 2001:db8:77::2/64 dev wide0 nodad',
  'route add 10.30.0.0/16 via 172.30.0.1',
  'route add 10.31.0.0/16 via 172.31.0.1',
  'route add 10.32.0.0/16 via 172.30.0.1 src 172.31.0.3',
  'route add fd78::/64 via fd77::1',
  'route add 2001:db8:78::/64 via fd77::1',
);
const wide = indexOf('wide0');
bench.addDevice(wide, { role: 'uplink', addr4: '203.0.113.77', addr6: '2001:db8:77::2' });

const cases = [
  { what: 'in its first subnet', backend: '172.30.0.9', source: '172.30.0.2' },
  { what: 'in its second', backend: '172.31.0.9', source: '172.31.0.2' },
  { what: 'behind a router in its first', backend: '10.30.0.9', source: '172.30.0.2' },
  { what: 'behind a router in its second', backend: '10.31.0.9', source: '172.31.0.2' },
  { what: 'behind a route that says which', backend: '10.32.0.9', source: '172.31.0.3' },
  { what: 'at a unique local address of its link', backend: 'fd77::9', source: 'fd77::2' },
  { what: 'at a global address of its link', backend: '2001:db8:77::9', source: '2001:db8:77::2' },
  { what: 'at a unique local address', backend: 'fd78::9', source: 'fd77::2' },
  { what: 'at a global address', backend: '2001:db8:78::9', source: '2001:db8:77::2' },
];

let port = 2000;
for (const { what, backend, source } of cases) {
  t.test(
    `a backend ${what} (S-64, S-68)`,
    { skip: choosesSource() ? false : 'before 6.7 it is the device that says' },
    (test) => {
      const who = bothFamilies.find(({ family }) => family === familyOf(backend));
      if (who === undefined) throw new Error('a family is missing');
      bench.addService({
        kind: 'external',
        address: who.external,
        port: ++port,
        protocol: 'tcp',
        backends: [{ address: backend, port: 8080 }],
      });
      const { verdict, packet } = bench.run('in', ask(who.client, who.external, port), uplink);
      test.equal(`${verdict} ${endsOf(packet).source}`, `REQUEST_NEW ${end(source, 40000)}`);
      test.end();
    },
  );
}
