// Machines without a BPF file system, as those without systemd: the first folder for pins mounts one, or fails with a
// coded error. Each case has a mount and a network namespace of its own, where /sys/fs/bpf looks so; the lab's part
// stands for the demo, tests, benches and guests, which make their folders the same way.
import t from 'tap';
import { sluiceCommand } from '../support/lab/agent.ts';
import { ManifestFolder } from '../support/kube/manifests.ts';
import { patience, run, type Ran } from '../support/run/process.ts';

t.setTimeout(240_000 * patience);

const clear = 'while umount /sys/fs/bpf 2>/dev/null; do :; done';
const machines = {
  bare: clear,
  'as in a container': `${clear}; mount --bind /sys/fs/bpf /sys/fs/bpf`,
  'something else mounted': `${clear}; mount -t tmpfs tmpfs /sys/fs/bpf`,
  'mounted read-only': `${clear}; mount -t bpf -o ro bpf /sys/fs/bpf`,
  'no folder /sys/fs/bpf': 'mount -t tmpfs tmpfs /sys/fs',
} as const;
type Name = keyof typeof machines;
type Broken = Exclude<Name, 'bare' | 'as in a container'>;

const complaints: Readonly<Record<Broken, RegExp>> = {
  'something else mounted': /SLB_E_NO_BPFFS.*\/sys\/fs\/bpf has a file system of type tmpfs mounted/,
  'mounted read-only': /SLB_E_NO_BPFFS.*\/sys\/fs\/bpf is not writable/,
  'no folder /sys/fs/bpf': /SLB_E_NO_BPFFS.*\/sys\/fs\/bpf does not exist/,
};

/** What spins is killed: its exit code is then 137. */
function on(machine: Name, command: readonly string[]): Promise<Ran> {
  const prepare = `ip link set lo up; ${machines[machine]}; exec timeout --signal=KILL ${String(60 * patience)} "$@"`;
  const apart = ['unshare', '--mount', '--propagation', 'private', '--net', 'sh', '-c', prepare, 'sh'];
  return run([...apart, ...command], { mayFail: true });
}

const lab = (verb: 'lab' | 'folder'): string[] => [
  process.execPath,
  '--import=tsx',
  'test/support/lab/bpffslab.ts',
  verb,
];
const check = [...sluiceCommand(), 'check'];
const agent = [
  ...[...sluiceCommand(), 'agent', '--manifests', new ManifestFolder().path, '--node-name', 'node'],
  ...['--api-address', '127.0.0.1:9971', '--healthz-bind-address', '127.0.0.1:0', '--socket-hooks', 'off'],
];

t.test('no BPF file system: the first process mounts it', async (t) => {
  const made = await on('bare', lab('folder'));
  t.match(made, { code: 0, stdout: '{"done":true,"mounted":1}\n' }, 'folder');
  t.match(await on('as in a container', lab('folder')), made, "the host's folder bound into a container");
  t.match(await on('bare', lab('lab')), { code: 0, stdout: '{"done":true,"mounted":1}\n' }, 'lab and agent');
  t.match(await on('bare', check), { code: 0, stdout: /BPF file system +ok .*, mounted just now/ }, 'check');
});

t.test('several processes at once mount one, so that no pins are hidden', async (t) => {
  const several = 'for i in 1 2 3 4; do "$@" & done; wait; grep -c "^[^ ]* /sys/fs/bpf bpf " /proc/mounts';
  const { stdout } = await on('bare', ['sh', '-c', several, 'sh', ...lab('folder')]);
  t.match(stdout, /\n1\n$/);
  t.equal(stdout.match(/"done":true/g)?.length, 4, stdout);
});

t.test('unmounted while in use: mounted again', async (t) => {
  const twice = '"$@" && umount /sys/fs/bpf && "$@"';
  const { code, stdout } = await on('bare', ['sh', '-c', twice, 'sh', ...lab('folder')]);
  t.match({ code, stdout }, { code: 0, stdout: '{"done":true,"mounted":1}\n'.repeat(2) });
});

for (const [machine, complaint] of Object.entries(complaints) as [Broken, RegExp][]) {
  t.test(`${machine}: a coded error, and no loop`, async (t) => {
    t.match(await on(machine, lab('folder')), { code: 1, stderr: complaint }, 'folder');
    t.match(await on(machine, lab('lab')), { code: 1, stderr: complaint }, 'lab');
    const checked = await on(machine, check);
    t.not(checked.code, 0, 'check');
    t.match(checked.stdout, /BPF file system +MISSING /);
    t.match(await on(machine, agent), { code: 1, stderr: /SLB_E_NO_BPFFS/ }, 'agent');
  });
}
