// Run by bpffs.test.ts in a mount namespace of its own: what the demo, the tests and the benches do first.
//   folder    makes a folder for pins      lab    starts an agent on a node of a lab
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Agent } from './agent.ts';
import { echoDocuments, echoService } from './echo.ts';
import { Lab } from './lab.ts';
import { ManifestFolder } from '../kube/manifests.ts';
import { ownBpffs, sweepOnExit } from '../run/owner.ts';

/** Whether there are pins, by an agent on a lab's node. */
async function startAgent(): Promise<boolean> {
  const lab = await Lab.create();
  try {
    const node = await lab.node('node');
    const folder = new ManifestFolder();
    folder.put('web.yaml', echoDocuments(echoService('web', 10), [{ address: '10.1.0.1' }]));
    const agent = await Agent.start(node, { manifests: folder.path });
    const pinned = readdirSync(node.bpffs).some((name) => existsSync(join(node.bpffs, name, 'slb_services')));
    await agent.stop();
    return pinned;
  } finally {
    await lab.close();
  }
}

function makeFolder(): boolean {
  sweepOnExit();
  return existsSync(ownBpffs('made'));
}

try {
  const done = process.argv[2] === 'lab' ? await startAgent() : makeFolder();
  const mounted = readFileSync('/proc/mounts', 'utf8').match(/^\S+ \/sys\/fs\/bpf bpf /gm)?.length ?? 0;
  console.log(JSON.stringify({ done, mounted }));
} catch (error) {
  console.error(String(error));
  process.exit(1);
}
