// The demo's network: one node with three pods, and a client somewhere outside.
import { copyFileSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isMap, isSeq, parseAllDocuments } from 'yaml';
import { Agent } from '../../test/support/lab/agent.ts';
import { Lab, type LabNode, type Machine } from '../../test/support/lab/lab.ts';
import { ownFolder } from '../../test/support/run/owner.ts';
import { begin } from './print.ts';
import { startWeb, type WebServer } from './web.ts';

export const backendNames = ['red', 'green', 'blue'] as const;
export type BackendName = (typeof backendNames)[number];

export const drawing = `
      client                           node
  172.20.1.2 ───── router ───── 172.20.2.2 ──┬── red    10.244.1.2:8080
                                  sluice     ├── green  10.244.1.3:8080
  http://10.96.0.80               in eBPF    └── blue   10.244.1.4:8080
  http://172.20.2.2:30081

  No device has the address 10.96.0.80, and no process listens on port 30081: both are in the node's BPF maps only.`;

/** The manifests, copied so that the demo can edit them. */
export class Manifests {
  readonly folder = ownFolder('manifests');
  readonly file = join(this.folder, 'web.yaml');
  readonly #originals = fileURLToPath(new URL('manifests/', import.meta.url));

  constructor() {
    copyFileSync(join(this.#originals, 'outside.yaml'), join(this.folder, 'outside.yaml'));
    this.restore();
  }

  restore(): void {
    const unfinished = join(this.folder, '.web.yaml.new');
    copyFileSync(join(this.#originals, 'web.yaml'), unfinished);
    renameSync(unfinished, this.file);
  }

  /** Takes the endpoint with this address out of the EndpointSlice and keeps the rest of the file as it is. */
  removeEndpoint(address: string): void {
    const documents = parseAllDocuments(readFileSync(this.file, 'utf8'));
    for (const document of documents) {
      const endpoints = document.get('endpoints');
      if (!isSeq(endpoints)) continue;
      endpoints.items = endpoints.items.filter(
        (endpoint) => !isMap(endpoint) || String(endpoint.getIn(['addresses', 0])) !== address,
      );
    }
    const unfinished = join(this.folder, '.web.yaml.new');
    writeFileSync(unfinished, documents.map(String).join('---\n'));
    renameSync(unfinished, this.file);
  }
}

export interface Network {
  readonly lab: Lab;
  readonly client: Machine;
  readonly node: LabNode;
  readonly web: Record<BackendName, WebServer>;
  readonly manifests: Manifests;
  readonly agent: Agent;
}

export async function buildNetwork(): Promise<Network> {
  begin('building the network');
  const lab = await Lab.create();
  const client = await lab.host('client');
  const node = await lab.node('node');
  const [red, green, blue] = [await node.pod('red'), await node.pod('green'), await node.pod('blue')];
  begin('starting nginx in each pod');
  const [redWeb, greenWeb, blueWeb] = await Promise.all([startWeb(red), startWeb(green), startWeb(blue)]);
  const manifests = new Manifests();
  begin('starting sluice agent on the node');
  const agent = await Agent.start(node, { manifests: manifests.folder, socketHooks: 'auto' });
  return { lab, client, node, web: { red: redWeb, green: greenWeb, blue: blueWeb }, manifests, agent };
}
