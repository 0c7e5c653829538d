// The node on which packet tests take place: devices and routes in the namespace of the test, and what the maps say
// of them.
//
//   outside ── router ── up0 [ node ] pod0 ── pods of this node        other nodes' pods are behind the router
import { release } from 'node:os';
import { slbLimits } from '../../../src/abi/layout.gen.ts';
import type { DeviceRole, HostDevice, HostFacts } from '../../../src/model/types.ts';
import { indexOf, ip, sysctl } from '../run/alone.ts';
import type { Test } from 'tap';
import { ownMac } from './rows.ts';
import { Bench, type BenchOptions } from './bpfrun.ts';
import { bothFamilies, type Addresses } from '../packet/addresses.ts';

export interface Devices {
  readonly lo: number;
  readonly pod: number;
  readonly uplink: number;
}

const prefixes = { 4: { pod: 16, uplink: 24 }, 6: { pod: 64, uplink: 64 } } as const;

/** Whether the kernel tells programs which source it would choose: from 6.7 on. */
export function choosesSource(): boolean {
  const [major = 0, minor = 0] = release()
    .split('.')
    .map((part) => parseInt(part, 10));
  return major > 6 || (major === 6 && minor >= 7);
}

/** Once a process, which must be alone in its namespace. */
export function buildNode(): Devices {
  sysctl({
    'net.ipv4.ip_forward': 1,
    'net.ipv6.conf.all.forwarding': 1,
    'net.ipv6.conf.default.accept_dad': 0,
    'net.ipv6.conf.default.addr_gen_mode': 1, // no link-local addresses: they would be announced
  });
  ip(
    'link set lo up',
    'link add pod0 type veth peer name pod0-far',
    'link add up0 type veth peer name up0-far',
    ...['pod0', 'up0'].map((device) => `link set ${device} address ${ownMac}`),
    ...['pod0', 'pod0-far', 'up0', 'up0-far'].map((device) => `link set ${device} up`),
    ...bothFamilies.flatMap(({ family, gateway, node, router }) => [
      `addr add ${gateway}/${prefixes[family].pod} dev pod0 ${family === 6 ? 'nodad' : ''}`,
      `addr add ${node}/${prefixes[family].uplink} dev up0 ${family === 6 ? 'nodad' : ''}`,
      `route add default via ${router} dev up0`,
    ]),
    // Where no way leads, and where a narrow one does.
    'route add unreachable 10.3.0.0/16',
    'route add unreachable fd03::/64',
    'route add 10.4.0.0/16 via 192.0.2.1 mtu lock 1280',
    'route add fd04::/64 via 2001:db8::1 mtu lock 1280',
  );
  return { lo: slbLimits.LOOPBACK, pod: indexOf('pod0'), uplink: indexOf('up0') };
}

/** The same as describeNode, as the agent's own tables take it. */
export function hostFacts({ lo, pod, uplink }: Devices, rpFilter = 0): HostFacts {
  const [four, six] = families();
  const mac = ownMac;
  const device = (ifindex: number, role: DeviceRole, addr4: string, addr6: string): HostDevice => ({
    ...{ ifindex, role, addr4, addr6, mac, netns: -1, bridge: 0, rpFilter, rpFilter6: rpFilter },
    ...{ lower: 0, vlan: 0 },
  });
  return {
    addresses: bothFamilies.flatMap((who) => [
      { address: who.node, nodePort: true, loopback: false },
      { address: who.gateway, nodePort: true, loopback: false },
      { address: who.loopback, nodePort: true, loopback: true },
    ]),
    devices: [
      device(lo, 'host', four.node, six.node),
      device(pod, 'pod', four.gateway, six.gateway),
      device(uplink, 'uplink', four.node, six.node),
    ],
    podRanges: [],
  };
}

function families(): readonly [Addresses, Addresses] {
  const [four, six] = bothFamilies;
  if (four === undefined || six === undefined) throw new Error('a family is missing');
  return [four, six];
}

/** The programs on that node, and what a packet that came in by one of its devices is run with. Gone with the test. */
export function benchOnNode(t: Pick<Test, 'teardown'>, options: BenchOptions = {}) {
  const devices = buildNode();
  const bench = new Bench(options);
  t.teardown(() => bench.close());
  describeNode(bench, devices);
  return { devices, bench, pod: { ifindex: devices.pod }, uplink: { ifindex: devices.uplink } };
}

/** What the agent would tell the datapath of this node. */
export function describeNode(bench: Bench, devices: Devices): void {
  const [four, six] = families();
  bench.addDevice(devices.lo, { role: 'host', addr4: four.node, addr6: six.node });
  bench.addDevice(devices.pod, { role: 'pod', addr4: four.gateway, addr6: six.gateway });
  bench.addDevice(devices.uplink, { role: 'uplink', addr4: four.node, addr6: six.node });
  for (const who of bothFamilies) {
    bench.addNodeAddress(who.node);
    bench.addNodeAddress(who.gateway);
    bench.addNodeAddress(who.loopback, { loopback: true });
  }
}
