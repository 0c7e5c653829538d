// File systems mounted over the network through a service. Their sockets are the kernel's own, made by threads in the
// root of all cgroups; so that is where the hooks are put, which is for a machine that has nothing else to do. The
// topology is drawn in test/support/lab/apps.ts.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { Apps, settings } from '../support/lab/apps.ts';
import { bothAddresses, echoService } from '../support/lab/echo.ts';
import type { Machine } from '../support/lab/lab.ts';
import { makeExport, NfsMount, nfsPort, NfsServer } from '../support/lab/nfs.ts';
import { cgroupRoot } from '../support/run/owner.ts';

t.setTimeout(1_800_000);
const apps = await Apps.start(t, ['--cgroup', cgroupRoot() ?? '']);
const service = echoService('files', 10);
const folder = await makeExport(t);

/** Two servers that know no client yet, with the same files. The service leads to the first. */
async function startServers(t: Test, name: string): Promise<[NfsServer, NfsServer]> {
  const machines = [await apps.node.pod(`${name}-1`), await apps.node.pod(`${name}-2`, 'ptp')] as const;
  return [
    await NfsServer.start(t, machines[0], folder, apps.clients),
    await NfsServer.start(t, machines[1], folder, apps.clients),
  ];
}

const offer = ({ machine }: NfsServer): Promise<void> =>
  apps.settle({ service, port: nfsPort, endpoints: bothAddresses([machine]) });

let files = 0;
/** What is written by the mount is in the folder, and the other way round. */
async function exchange(t: Test, mount: NfsMount, why: string): Promise<void> {
  const [mine, theirs] = [`file${String(++files)}`, `file${String(++files)}`];
  writeFileSync(join(folder, theirs), theirs);
  await mount.write(mine, mine);
  t.strictSame([readFileSync(join(folder, mine), 'utf8'), await mount.read(theirs)], [mine, theirs], why);
}

const mounted = ({ folder }: NfsMount): string =>
  readFileSync('/proc/mounts', 'utf8')
    .split('\n')
    .find((line) => line.includes(` ${folder} `)) ?? '';

async function outlivesServer(t: Test, client: Machine, family: 'v4' | 'v6', name: string): Promise<void> {
  const [first, second] = await startServers(t, name);
  await offer(first);
  const mount = await NfsMount.make(t, client, service[family]);
  await exchange(t, mount, 'by one server');
  await offer(second);
  await first.close();
  await exchange(t, mount, 'by the other server');
  t.match(mounted(mount), `,addr=${service[family]} `, 'the service, for the kernel too');
}

let tests = 0;
for (const setting of settings)
  for (const client of apps.clients)
    for (const family of ['v4', 'v6'] as const) {
      const what = `NFS of the ${client.name}, IP${family}, outlives its server; socket hooks ${setting}`;
      t.test(`${what} (S-52)`, async (t) => {
        await apps.hooks(setting);
        const before = { pointed: await apps.pointed(), left: await apps.left() };
        await outlivesServer(t, client, family, `nfs${String(++tests)}`);
        t.equal(await apps.pointed(), before.pointed, 'not pointed at a backend');
        const left = (await apps.left()) - before.left;
        if (setting === 'on') t.ok(left >= 2, `${String(left)} times left to the packet path`);
        else t.equal(left, 0, 'no hook was asked');
      });
    }
