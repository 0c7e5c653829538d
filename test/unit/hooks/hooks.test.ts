// Which devices get programs, what is required of a kernel, and how the clock is told. Nothing here needs root.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { BpfProgram, Native, NetDevice } from '../../../native/index.ts';
import { measureHz, snapRate } from '../../../src/kernel/jiffies.ts';
import { prepareConntrack } from '../../../src/kernel/conntrack.ts';
import { chooseDevices, directionsOf } from '../../../src/hooks/devices.ts';
import { isAtLeast, probeFeatures, requireFeatures, requireRights } from '../../../src/kernel/features.ts';
import { parseLinkName, pinKinds } from '../../../src/hooks/paths.ts';
import { findBpffs, findCgroup, makeBpffsFolder } from '../../../src/kernel/mounts.ts';
import { rolesOf } from '../../../src/host/roles.ts';
import { fakeSystem } from '../../support/fakesystem.ts';
import * as device from '../../support/devices.ts';

const { lo, eth0, eth1, bridge, pod, localVeth, wireguard, vxlan, ifb, bond, bonded } = device;
const all = [lo, eth0, eth1, bridge, pod, localVeth, wireguard, vxlan, ifb];

interface DeviceCase {
  readonly title: string;
  readonly devices: readonly NetDevice[];
  readonly routes: readonly number[];
  readonly patterns: readonly string[];
  readonly chosen: readonly string[]; // name:role
}

const deviceCases: readonly DeviceCase[] = [
  {
    title: 'by default uplinks, tunnels, pods and loopback',
    devices: all,
    routes: [2],
    patterns: [],
    chosen: ['lo:host', 'eth0:uplink', 'eth1:uplink', 'veth12:pod', 'flannel.1:tunnel'],
  },
  {
    title: 'an uplink that is a veth, as in a container',
    devices: [{ ...pod, name: 'eth0' }],
    routes: [5],
    patterns: [],
    chosen: ['eth0:uplink'],
  },
  {
    title: 'excludes take from the default',
    devices: all,
    routes: [2],
    patterns: ['!veth*', '!eth1', '!lo'],
    chosen: ['eth0:uplink', 'flannel.1:tunnel'],
  },
  {
    title: 'names, and the loopback that belongs to any choice',
    devices: all,
    routes: [2],
    patterns: ['cni0', 'eth1'],
    chosen: ['lo:host', 'eth1:uplink', 'cni0:other'],
  },
  {
    title: 'globs and excludes',
    devices: all,
    routes: [2],
    patterns: ['eth?', 'v*', '!v0'],
    chosen: ['lo:host', 'eth0:uplink', 'eth1:uplink', 'veth12:pod'],
  },
  {
    title: 'a dot is a dot',
    devices: [vxlan, { ...vxlan, index: 99, name: 'flannelX1' }],
    routes: [],
    patterns: ['flannel.1'],
    chosen: ['flannel.1:tunnel'],
  },
  {
    title: 'bond and port by name',
    devices: [bond, bonded],
    routes: [],
    patterns: ['*'],
    chosen: ['bond0:other', 'eth2:other'],
  },
  {
    title: 'everything: still no layer 3, no ifb',
    devices: [wireguard, ifb],
    routes: [7],
    patterns: ['*'],
    chosen: [],
  },
];

function choose(
  devices: readonly NetDevice[],
  defaultRoutes: readonly number[],
  patterns: readonly string[],
) {
  const network = { devices, addresses: [], defaultRoutes };
  const roles = rolesOf(network, { uplinks: [], detection: { mode: 'Device' } });
  return chooseDevices({ network, roles }, patterns);
}

t.test('device choice', async (t) => {
  for (const { title, devices, routes, patterns, chosen } of deviceCases) {
    const choice = choose(devices, routes, patterns);
    t.same(
      choice.chosen.map(({ device, role }) => `${device.name}:${role}`),
      chosen,
      title,
    );
    t.equal(
      choice.chosen.length + choice.skipped.length,
      devices.length,
      'each device is chosen or has a reason',
    );
  }
  const { skipped } = choose([...all, { ...pod, index: 98, name: 'out' }], [2], ['!out']);
  t.same(Object.fromEntries(skipped.map(({ device, reason }) => [device.name, reason])), {
    cni0: 'neither uplink nor tunnel nor pod device',
    v0: 'neither uplink nor tunnel nor pod device',
    wg0: 'no Ethernet header',
    ifb0: 'an ifb device repeats the traffic of another',
    out: 'excluded by --devices',
  });
  t.same(directionsOf('host'), ['egress'], 'what comes from loopback has been seen as it left for it');
  for (const role of ['uplink', 'tunnel', 'pod', 'other'] as const)
    t.same(directionsOf(role), ['ingress', 'egress'], role);
});

const options = { bpffs: '/sys/fs/bpf/sluice', cgroup: 'auto' };

t.test('a node that has everything', async (t) => {
  const features = await probeFeatures(options, fakeSystem());
  t.doesNotThrow(() => requireFeatures(features));
  t.match(features, { hz: 250, tcx: true, conntrack: true, cgroup: '/sys/fs/cgroup', kernel: '6.6.1-test' });
  t.ok(features.list.every(({ supported }) => supported));
});

t.test('each must-have that is missing is a coded error that names it', async (t) => {
  const cases = [
    ['SLB_E_NOT_ROOT', fakeSystem({ capEff: '0' }), /without CAP_NET_ADMIN/],
    ['SLB_E_NOT_ROOT', fakeSystem({ capEff: '0000007fffffffff' }), /without CAP_BPF/],
    ['SLB_E_KERNEL_OLD', fakeSystem({ release: '5.9.16' }), /kernel: 5\.9\.16/],
    ['SLB_E_KERNEL_OLD', fakeSystem({ release: '4.19.0-26-amd64' }), /4\.19/],
    ['SLB_E_NO_BTF', fakeSystem({ missing: ['/sys/kernel/btf/vmlinux'] }), /vmlinux/],
    ['SLB_E_NATIVE', fakeSystem({ nativeError: 'no sluice.node' }), /no sluice\.node/],
    [
      'SLB_E_NO_BPFFS',
      fakeSystem({ bpffs: false, mountComplaint: 'permission denied' }),
      /permission denied/,
    ],
    ['SLB_E_NO_CGROUP2', fakeSystem({ mounts: 'proc /proc proc rw 0 0\n' }), /no cgroup2/],
    ['SLB_E_CLOCK', fakeSystem({ hz: 550 }), /no known rate/],
  ] as const;
  for (const [code, system, detail] of cases) {
    const features = await probeFeatures(options, system);
    t.throws(() => requireFeatures(features), { code, message: detail }, code);
  }
});

t.test('what takes things out of the kernel needs rights, and nothing else', (t) => {
  const bare = { release: '4.19.0', missing: ['/sys/kernel/btf/vmlinux'] };
  t.doesNotThrow(() => requireRights(fakeSystem(bare)));
  t.throws(() => requireRights(fakeSystem({ ...bare, capEff: '0' })), { code: 'SLB_E_NOT_ROOT' });
  t.end();
});

t.test('a nice-to-have that is missing is said, and no error', async (t) => {
  const features = await probeFeatures(
    options,
    fakeSystem({ release: '5.10.0-30-amd64', tcx: false, destroys: false, conntrack: false, jit: '0\n' }),
  );
  t.doesNotThrow(() => requireFeatures(features));
  t.equal(features.tcx, false);
  t.equal(features.conntrack, false);
  t.same(
    features.list.filter(({ supported }) => !supported).map(({ name }) => name),
    ['tcx', 'conntrack', 'ending of UDP sockets', 'JIT', 'batches on per-CPU arrays'],
  );
});

t.test(
  'S-55: NodePorts that the kernel may choose as source ports are named, with what to reserve',
  async (t) => {
    const cases = [
      ['32768\t60999\n', '\n', undefined],
      ['1024\t65535\n', '30000-32767\n', undefined],
      ['1024\t65535\n', '8080,29000-31999,32000-33000\n', undefined],
      ['1024\t29999\n', '\n', undefined],
      ['1024\t65535\n', '\n', '30000-32767'],
      ['32000\t65535\n', '8080\n', '32000-32767'],
      ['1024\t31000\n', '30100-30199,30500\n', '30000-30099,30200-30499,30501-31000'],
      ['30500\t30500\n', '\n', '30500-30500'],
    ] as const;
    for (const [localPorts, reservedPorts, named] of cases) {
      const { list } = await probeFeatures(options, fakeSystem({ localPorts, reservedPorts }));
      const found = list.find(({ name }) => name === 'source ports');
      t.equal(found?.needed, false);
      t.equal(found?.supported, named === undefined, localPorts + reservedPorts);
      if (named !== undefined) t.match(found?.detail, new RegExp(`reserved_ports should have ${named}$`));
    }
  },
);

t.test('a program of others before ours is said', async (t) => {
  const features = await probeFeatures(options, fakeSystem({ behind: true }));
  t.match(
    features.list.find(({ name }) => name === 'place at tc'),
    { needed: false, supported: false, detail: /behind .*: eth0: cil_from_netdev$/ },
  );
});

t.test('nothing is tried that cannot work', async (t) => {
  const system = fakeSystem({ capEff: '0', bpffs: false });
  await probeFeatures(options, system);
  t.equal(system.mounted, 0, 'nothing is mounted without the rights to use it');
});

t.test('BPF file system', (t) => {
  const fresh = fakeSystem({ bpffs: false });
  t.match(findBpffs('/sys/fs/bpf/a/b', fresh), { ok: true, detail: '/sys/fs/bpf/a/b, mounted just now' });
  t.equal(fresh.mounted, 1);
  t.match(findBpffs('/var/lib/sluice', fresh), {
    ok: false,
    detail: '/var/lib/sluice is not on a BPF file system',
  });
  t.equal(fresh.mounted, 1, 'mounted nowhere else');
  t.match(findBpffs('/sys/fs/bpf/../../../tmp', fakeSystem()), { ok: false }, 'no way around by dots');
  t.end();
});

t.test('BPF file system that cannot be used or mounted', (t) => {
  const mounted = (type: string) => fakeSystem({ bpffs: false, mounts: `none /sys/fs/bpf ${type} rw 0 0\n` });
  const other = mounted('tmpfs');
  t.match(findBpffs('/sys/fs/bpf/a', other), { ok: false, detail: /of type tmpfs mounted/ });
  t.equal(other.mounted, 0, 'not mounted over');
  t.match(findBpffs('/sys/fs/bpf/a', mounted('sysfs')), { ok: true }, "the host's bare folder");
  const missing = fakeSystem({ bpffs: false, missing: ['/sys/fs/bpf'] });
  t.match(findBpffs('/sys/fs/bpf/a', missing), { ok: false, detail: /^\/sys\/fs\/bpf does not exist/ });
  t.match(findBpffs('/sys/fs/bpf/a', fakeSystem({ readOnly: true })), { ok: false, detail: /not writable/ });
  t.throws(() => makeBpffsFolder('/sys/fs/bpf/a', missing), { code: 'SLB_E_NO_BPFFS' });
  t.end();
});

t.test('cgroup folder', async (t) => {
  const unified = 'cgroup /sys/fs/cgroup/cpu cgroup rw 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n';
  t.same(findCgroup('auto', fakeSystem({ mounts: unified })), { ok: true, detail: '/sys/fs/cgroup/unified' });
  t.same(findCgroup('/sys/fs/cgroup/pods', fakeSystem()), { ok: true, detail: '/sys/fs/cgroup/pods' });
  t.match(findCgroup('/tmp', fakeSystem()), { ok: false, detail: '/tmp is not on cgroup v2' });
  t.match(findCgroup('/none', fakeSystem({ missing: ['/none'] })), {
    ok: false,
    detail: '/none does not exist',
  });
});

t.test('kernel releases', async (t) => {
  for (const release of ['5.10.0', '5.10.0-30-amd64', '5.11', '6.0.0', '10.1'])
    t.ok(isAtLeast(release, 5, 10), release);
  for (const release of ['5.9.99', '4.20', '5.4.0-generic', 'weird'])
    t.notOk(isAtLeast(release, 5, 10), release);
});

t.test('measured rates are told apart', async (t) => {
  for (const rate of [100, 250, 300, 1000]) {
    for (const error of [-0.05, 0, 0.05]) t.equal(snapRate(rate * (1 + error)), rate);
  }
  for (const rate of [0, 64, 120, 200, 273, 400, 1200, NaN]) t.equal(snapRate(rate), undefined, String(rate));
});

/** Ticks 250 times a second. Who waits for a tick is held up every other time before he knows of it, so many times. */
function heldUp(times: number): Pick<Native, 'loadProgram'> {
  let [last, asked, waited] = [0, 0, 0];
  const testRun = (): { retval: number } => {
    const retval = Number(process.hrtime.bigint() / 4_000_000n);
    const waits = performance.now() - asked < 2;
    if (retval !== last && waits && ++waited <= times && waited % 2 === 0)
      for (const until = performance.now() + 25; performance.now() < until;);
    [last, asked] = [retval, performance.now()];
    return { retval };
  };
  return { loadProgram: () => ({ testRun, close: () => undefined }) as unknown as BpfProgram };
}

t.test('the rate is found on a machine that is busy with others', async (t) => {
  t.equal(await measureHz(heldUp(0)), 250);
  t.equal(await measureHz(heldUp(12)), 250);
});

t.test('names of pins', async (t) => {
  for (const kind of pinKinds) t.same(parseLinkName(`${kind}-17`), { kind, target: 17 });
  for (const name of ['tcx-in', 'tcx-in-', 'tcx-in-x', 'other-3', '', 'qdisc--1x'])
    t.equal(parseLinkName(name), undefined);
});

t.test("netfilter's time-outs follow ours where it tracks connections (S-109a)", (t) => {
  const names = ['nf_conntrack_tcp_timeout_established', 'nf_conntrack_tcp_timeout_close_wait'];
  const folder = t.testdir(Object.fromEntries(names.map((name) => [name, '60\n'])));
  const timeouts = { tcpEstablishedSec: 86_400, tcpCloseWaitSec: 3_600 };
  t.same(prepareConntrack(timeouts, folder), []);
  t.same(
    names.map((name) => readFileSync(join(folder, name), 'utf8')),
    ['86400', '3600'],
  );
  t.same(prepareConntrack(timeouts, join(folder, 'nothing')), [], 'no netfilter, nothing to set');
  const odd = t.testdir({ odd: { [names[0]!]: {}, [names[1]!]: '60' } });
  t.match(
    prepareConntrack(timeouts, join(odd, 'odd')),
    [{ code: 'SLB_E_SYSCTL' }],
    'said, and the other is set',
  );
  t.end();
});
