// The permissions and files in deploy/ are those that the agent uses, and no others.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import t, { type Test } from 'tap';
import { parseAllDocuments } from 'yaml';
import { lab, service } from '../support/kube/kubelab.ts';
import { run, until } from '../support/run/process.ts';
import { RecordingSink } from '../support/kube/sink.ts';

const root = path.join(import.meta.dirname, '../..');
const deploy = path.join(root, 'deploy');

interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly rules?: readonly { apiGroups: string[]; resources: string[]; verbs: string[] }[];
  readonly roleRef?: { readonly name: string };
  readonly patches?: readonly { readonly patch: string }[];
}

function manifests(file: string): Manifest[] {
  const documents = parseAllDocuments(readFileSync(path.join(deploy, file), 'utf8'));
  return documents.map((document) => document.toJS() as Manifest);
}

/** "list services", "create events.events.k8s.io": every single right of the roles with these names. */
function granted(roles: readonly string[]): string[] {
  const rules = manifests('rbac.yaml').flatMap(({ kind, metadata, rules = [] }) =>
    kind === 'ClusterRole' && roles.includes(metadata.name) ? rules : [],
  );
  const all = rules.flatMap(({ apiGroups, resources, verbs }) =>
    apiGroups.flatMap((group) =>
      resources.flatMap((resource) => verbs.map((verb) => right(verb, group, resource))),
    ),
  );
  return [...new Set(all)].sort();
}

function right(verb: string, group: string, resource: string): string {
  return `${verb} ${resource}${group === '' ? '' : `.${group}`}`;
}

/** What an API server would ask RBAC for each request that the source makes in the course of a life. */
async function used(t: Test, pods: boolean): Promise<string[]> {
  const { kube, sink, source, start } = await lab(t, new RecordingSink(), pods);
  const rights = new Set<string>();
  kube.intercept = (query, _response, { method, url = '' }) => {
    const match = /^\/(?:api|apis\/([^/]+))\/[^/]+\/(?:namespaces\/[^/]+\/)?([^/?]+)/.exec(url);
    const verb =
      method === 'POST'
        ? 'create'
        : method !== 'GET'
          ? String(method)
          : query.has('watch')
            ? 'watch'
            : 'list';
    rights.add(right(verb, match?.[1] ?? '', match?.[2] ?? url));
    return false;
  };
  kube.watchLists = false;
  kube.store('/api/v1/services', service('a'));
  await start();
  const regarding = { kind: 'Node' as const, namespace: '', name: 'me', uid: 'u' };
  source.record({ type: 'Normal', reason: 'Starting', action: 'Start', note: '', regarding });
  await until('all of it', () => rights.size >= (pods ? 11 : 7));
  await until('Services', () => sink.objects.size === 1);
  return [...rights].sort();
}

t.test('S-1: the roles grant what the agent asks for, verb by verb, and nothing else', async (t) => {
  t.strictSame(await used(t, true), granted(['sluice', 'sluice-socket-hooks']));
  const bound = manifests('rbac.yaml').flatMap(({ roleRef }) => roleRef?.name ?? []);
  t.strictSame(bound, ['sluice', 'sluice-socket-hooks']);
});

t.test(
  'without socket hooks Pods and Namespaces are not listed, and a component removes the permission',
  async (t) => {
    t.strictSame(await used(t, false), granted(['sluice']));
    const [component] = manifests('components/socket-hooks-off/kustomization.yaml');
    const patches = component?.patches?.map(({ patch }) => patch) ?? [];
    for (const kind of ['ClusterRole', 'ClusterRoleBinding']) {
      const text = patches.find((patch) => patch.includes(`kind: ${kind}\n`)) ?? '';
      t.match(text, /name: sluice-socket-hooks/);
      t.match(text, /\$patch: delete/);
    }
    t.match(patches.at(-1), /--socket-hooks=off/);
  },
);

t.test('the staged image has sluice on the PATH', async (t) => {
  const stage = mkdtempSync(path.join(tmpdir(), 'sluice-stage-'));
  t.teardown(() => rmSync(stage, { recursive: true }));
  await run([path.join(deploy, 'stage.sh'), stage]);
  const env = { PATH: `${stage}/usr/local/bin:/usr/bin:/bin`, NODE: process.execPath };
  const { stdout } = await run(['sh', '-c', 'sluice --version'], { env });
  t.match(stdout, /^\d+\.\d+\.\d+/);
});
