// Two options about packets from outside: --unserved-ports for ports without a Service, and the source address that
// local backends see.
import '../support/run/alone.ts';
import t from 'tap';
import { Bench } from '../support/kernel/bpfrun.ts';
import { bothFamilies, end, ip } from '../support/packet/addresses.ts';
import { show } from '../support/packet/dissect.ts';
import { buildNode, describeNode } from '../support/kernel/node.ts';
import { answer, ask, endsOf, transports } from '../support/packet/probe.ts';

t.setTimeout(120_000);
const devices = buildNode();
const benches = [0, 1, 2].map(
  (unservedPorts) => new Bench({ config: { unservedPorts, keepLocal: unservedPorts === 2 ? 1 : 0 } }),
);
for (const bench of benches) {
  t.teardown(() => bench.close());
  describeNode(bench, devices);
}
const up = { ifindex: devices.uplink };
const pod = { ifindex: devices.pod };

for (const who of bothFamilies) {
  const spec = { port: 80, protocol: 'tcp', backends: [{ address: who.one, port: 8080 }] } as const;
  for (const protocol of transports) {
    t.test(
      `a port without a Service (S-49): passed, refused or dropped, IPv${String(who.family)}, ${protocol}`,
      (test) => {
        for (const [i, expected] of [
          'NO_SUCH_PORT next',
          'REFUSED_PORT redirect',
          'DROP_UNSERVED shot',
        ].entries()) {
          const bench = benches[i];
          if (bench === undefined) throw new Error('no bench');
          for (const address of [who.external, who.node])
            bench.addService({ ...spec, kind: 'external', address });
          bench.addService({ ...spec, kind: 'balancer', address: who.balancer });
          const fate = (to: string, at = up, flags = 'S'): string => {
            const { verdict, action } = bench.run('in', ask(who.client, to, 81, { protocol, flags }), at);
            return `${verdict} ${action}`;
          };
          for (const to of [who.external, who.balancer]) {
            test.equal(fate(to), expected, `what comes back: ${to}`);
            test.equal(fate(to, pod), 'NO_SUCH_PORT next', "a pod's goes on by another device");
          }
          test.equal(fate(who.node), 'NO_SUCH_PORT next', 'an address of this node is its own');
          if (protocol === 'tcp')
            test.equal(
              fate(who.external, up, 'RA'),
              i === 0 ? 'NO_SUCH_PORT next' : i === 1 ? 'DROP_NO_FLOW shot' : 'DROP_UNSERVED shot',
              'a reset is not answered',
            );
          if (i !== 1) continue;
          const text = show(bench.run('in', ask(who.client, who.external, 81, { protocol }), up).packet);
          test.match(
            text,
            protocol === 'tcp' ? / TCP RA / : who.family === 4 ? / ICMP 3\/3 / : / ICMP 1\/4 /,
          );
        }
        test.end();
      },
    );
  }

  t.test(
    `with the option on, backends of this node see the client (S-64), IPv${String(who.family)}`,
    (test) => {
      const bench = benches[2];
      if (bench === undefined) throw new Error('no bench');
      const near = { ...spec, kind: 'external', address: who.external, port: 90 } as const;
      bench.addService(near);
      bench.addService({ ...near, port: 91, backends: [{ address: who.far, port: 8080 }] });
      const first = bench.run('in', ask(who.client, who.external, 90), up);
      test.equal(`${first.verdict} ${first.action}`, 'REQUEST_NEW next', 'by the stack');
      test.equal(endsOf(first.packet).source, end(who.client, 40000));
      const reply = bench.run('out', answer(who.one, 8080, who.client, 40000), up);
      test.equal(
        `${reply.verdict} ${endsOf(reply.packet).source}`,
        `REPLY ${end(who.external, 90)}`,
        'and its answer leaves through us',
      );
      const far = bench.run('in', ask(who.client, who.external, 91), up);
      test.equal(
        `${far.verdict} ${far.action} ${endsOf(far.packet).source}`,
        `REQUEST_NEW redirect ${end(who.node, 40000)}`,
        "another node's pod sees this node",
      );
      const itself = bench.run(
        'in',
        ip(who.one, who.external).tcp({ sport: 40000, dport: 90, flags: 'S' }).bytes(),
        pod,
      );
      test.equal(
        `${itself.verdict} ${endsOf(itself.packet).source}`,
        `HAIRPIN ${end(who.external, 40000)}`,
        'itself it sees as the service',
      );
      test.end();
    },
  );
}
