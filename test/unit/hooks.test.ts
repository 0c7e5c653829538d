// Which devices get programs, what is required of a kernel, and how the clock is told. Nothing here needs root.
import t from 'tap';
import type { NetDevice } from '../../native/index.ts';
import { snapRate } from '../../src/hooks/clock.ts';
import { chooseDevices } from '../../src/hooks/devices.ts';
import { isAtLeast, probeFeatures, requireFeatures, requireRights } from '../../src/hooks/features.ts';
import { parseLinkName, pinKinds } from '../../src/hooks/layout.ts';
import { findBpffs, findCgroup } from '../../src/hooks/mounts.ts';
import { fakeSystem } from '../support/fakesystem.ts';

const plain: NetDevice = {
  index: 1,
  name: 'eth0',
  up: true,
  kind: '',
  mtu: 1500,
  mac: '02:00:00:00:00:01',
  arpType: 1,
  master: 0,
  peerElsewhere: false,
  physical: true,
  xdpProgramId: 0,
};
const soft = { ...plain, physical: false };
const lo = { ...soft, index: 1, name: 'lo', arpType: 772 };
const eth0 = { ...plain, index: 2 };
const eth1 = { ...plain, index: 3, name: 'eth1' };
const bridge = { ...soft, index: 4, name: 'cni0', kind: 'bridge' };
const pod = { ...soft, index: 5, name: 'veth12', kind: 'veth', master: 4, peerElsewhere: true };
const localVeth = { ...soft, index: 6, name: 'v0', kind: 'veth' };
const wireguard = { ...soft, index: 7, name: 'wg0', kind: 'wireguard', arpType: 65534 };
const vxlan = { ...soft, index: 8, name: 'flannel.1', kind: 'vxlan' };
const ifb = { ...soft, index: 9, name: 'ifb0', kind: 'ifb' };
const bond = { ...soft, index: 10, name: 'bond0', kind: 'bond' };
const bonded = { ...plain, index: 11, name: 'eth2', master: 10 };
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
    title: 'by default uplinks and pods',
    devices: all,
    routes: [2],
    patterns: [],
    chosen: ['eth0:uplink', 'veth12:pod'],
  },
  {
    title: 'two uplinks',
    devices: all,
    routes: [2, 3],
    patterns: [],
    chosen: ['eth0:uplink', 'eth1:uplink', 'veth12:pod'],
  },
  {
    title: 'no default route: hardware is uplink',
    devices: all,
    routes: [],
    patterns: [],
    chosen: ['eth0:uplink', 'eth1:uplink', 'veth12:pod'],
  },
  {
    title: 'a route of a vanished device does not count',
    devices: all,
    routes: [99],
    patterns: [],
    chosen: ['eth0:uplink', 'eth1:uplink', 'veth12:pod'],
  },
  {
    title: 'a bond is the uplink, its ports are not',
    devices: [bond, bonded],
    routes: [],
    patterns: ['*'],
    chosen: ['bond0:other', 'eth2:other'],
  },
  {
    title: 'a bond with the default route',
    devices: [bond, bonded],
    routes: [10],
    patterns: [],
    chosen: ['bond0:uplink'],
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
    patterns: ['!veth*'],
    chosen: ['eth0:uplink'],
  },
  {
    title: 'names',
    devices: all,
    routes: [2],
    patterns: ['cni0', 'eth1'],
    chosen: ['eth1:other', 'cni0:other'],
  },
  {
    title: 'globs and excludes',
    devices: all,
    routes: [2],
    patterns: ['eth?', 'v*', '!v0'],
    chosen: ['eth0:uplink', 'eth1:other', 'veth12:pod'],
  },
  {
    title: 'a dot is a dot',
    devices: [vxlan, { ...vxlan, name: 'flannelX1' }],
    routes: [],
    patterns: ['flannel.1'],
    chosen: ['flannel.1:other'],
  },
  {
    title: 'everything: still no loopback, no layer 3, no ifb',
    devices: [lo, wireguard, ifb],
    routes: [7],
    patterns: ['*'],
    chosen: [],
  },
];

t.test('device choice', async (t) => {
  for (const { title, devices, routes, patterns, chosen } of deviceCases) {
    const choice = chooseDevices(devices, routes, patterns);
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
  const { skipped } = chooseDevices([...all, { ...pod, name: 'out' }], [2], ['!out']);
  t.same(Object.fromEntries(skipped.map(({ device, reason }) => [device.name, reason])), {
    lo: 'loopback',
    eth1: 'neither uplink nor pod device',
    cni0: 'neither uplink nor pod device',
    v0: 'neither uplink nor pod device',
    wg0: 'no Ethernet header',
    'flannel.1': 'neither uplink nor pod device',
    ifb0: 'an ifb device repeats the traffic of another',
    out: 'excluded by --devices',
  });
});

const options = { bpffs: '/sys/fs/bpf/sluice', cgroup: 'auto' };

t.test('a node that has everything', async (t) => {
  const features = await probeFeatures(options, fakeSystem());
  t.doesNotThrow(() => requireFeatures(features));
  t.match(features, { hz: 250, tcx: true, cgroup: '/sys/fs/cgroup', kernel: '6.6.1-test' });
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
    ['SLB_E_LOAD', fakeSystem({ hz: 550 }), /no known rate/],
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
    fakeSystem({ release: '5.10.0-30-amd64', tcx: false, jit: '0\n' }),
  );
  t.doesNotThrow(() => requireFeatures(features));
  t.equal(features.tcx, false);
  t.same(
    features.list.filter(({ supported }) => !supported).map(({ name }) => name),
    ['tcx', 'JIT', 'batches on per-CPU arrays'],
  );
});

t.test('nothing is tried that cannot work', async (t) => {
  const system = fakeSystem({ capEff: '0', bpffs: false });
  await probeFeatures(options, system);
  t.equal(system.mounted, 0, 'nothing is mounted without the rights to use it');
});

t.test('BPF file system', async (t) => {
  const fresh = fakeSystem({ bpffs: false });
  t.match(findBpffs('/sys/fs/bpf/a/b', fresh), { ok: true, detail: '/sys/fs/bpf/a/b, mounted just now' });
  t.equal(fresh.mounted, 1);
  t.match(findBpffs('/var/lib/sluice', fresh), {
    ok: false,
    detail: '/var/lib/sluice is not on a BPF file system',
  });
  t.equal(fresh.mounted, 1, 'mounted nowhere else');
  t.match(findBpffs('/sys/fs/bpf/../../../tmp', fakeSystem()), { ok: false }, 'no way around by dots');
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

t.test('names of pins', async (t) => {
  for (const kind of pinKinds) t.same(parseLinkName(`${kind}-17`), { kind, ifindex: 17 });
  for (const name of ['tcx-in', 'tcx-in-', 'tcx-in-x', 'other-3', '', 'qdisc--1x'])
    t.equal(parseLinkName(name), undefined);
});
