// The agent's requirements on a kernel, checked against a machine made up for it, and the measurement of the jiffies
// rate.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { BpfProgram, Native } from '../../../native/index.ts';
import { measureHz, snapRate } from '../../../src/kernel/jiffies.ts';
import { prepareConntrack } from '../../../src/kernel/conntrack.ts';
import { isAtLeast, probeFeatures, requireFeatures, requireRights } from '../../../src/kernel/features.ts';
import { findBpffs, findCgroup, makeBpffsFolder } from '../../../src/kernel/mounts.ts';
import { fakeSystem } from '../../support/kernel/fakesystem.ts';

const options = { bpffs: '/sys/fs/bpf/sluice', cgroup: 'auto' };

t.test('a node with every feature', async (t) => {
  const features = await probeFeatures(options, fakeSystem());
  t.doesNotThrow(() => requireFeatures(features));
  t.match(features, { hz: 250, tcx: true, conntrack: true, cgroup: '/sys/fs/cgroup', kernel: '6.6.1-test' });
  t.ok(features.list.every(({ supported }) => supported));
});

t.test('each missing requirement is a coded error that names it', async (t) => {
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
    ['SLB_E_CLOCK', fakeSystem({ hz: 550 }), /none of the known rates/],
  ] as const;
  for (const [code, system, detail] of cases) {
    const features = await probeFeatures(options, system);
    t.throws(() => requireFeatures(features), { code, message: detail }, code);
  }
});

t.test('clean requires capabilities alone', (t) => {
  const bare = { release: '4.19.0', missing: ['/sys/kernel/btf/vmlinux'] };
  t.doesNotThrow(() => requireRights(fakeSystem(bare)));
  t.throws(() => requireRights(fakeSystem({ ...bare, capEff: '0' })), { code: 'SLB_E_NOT_ROOT' });
  t.end();
});

t.test('a missing optional feature is reported, and no error', async (t) => {
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
      if (named !== undefined)
        t.match(found?.detail, new RegExp(`add ${named} to net.ipv4.ip_local_reserved_ports$`));
    }
  },
);

t.test('a program of others before ours is reported', async (t) => {
  const features = await probeFeatures(options, fakeSystem({ behind: true }));
  t.match(
    features.list.find(({ name }) => name === 'place at tc'),
    { needed: false, supported: false, detail: /after .*: eth0: cil_from_netdev$/ },
  );
});

t.test('no probe runs without the capabilities for it', async (t) => {
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

t.test('measured rates are rounded to a rate that kernels have', async (t) => {
  for (const rate of [100, 250, 300, 1000]) {
    for (const error of [-0.05, 0, 0.05]) t.equal(snapRate(rate * (1 + error)), rate);
  }
  for (const rate of [0, 64, 120, 200, 273, 400, 1200, NaN]) t.equal(snapRate(rate), undefined, String(rate));
});

/** Ticks 250 times a second. Its reader is delayed at every other tick, so many times. */
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

t.test('the rate is measured on a busy machine too', async (t) => {
  t.equal(await measureHz(heldUp(0)), 250);
  t.equal(await measureHz(heldUp(12)), 250);
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
