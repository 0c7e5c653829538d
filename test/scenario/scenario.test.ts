// Scenarios: Kubernetes YAML in, the kernel's rows out. A file holds steps, each begun by a line "-- VERB":
//   -- apply                        YAML documents, put as one batch
//   -- delete KIND NAMESPACE/NAME   (one a line below is allowed too)
//   -- host FACTS                   addresses (10.1.0.1, with +node-port, +loopback) and devices
//                                   (3:uplink) of this node
//   -- rows                         what the kernel then holds
// With UPDATE=1 the rows in the files are written anew; read the difference before you commit it.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { parseAllDocuments } from 'yaml';
import { buildServicePorts } from '../../src/model/build.ts';
import type { DeviceRole, HostFacts } from '../../src/model/types.ts';
import type { Change } from '../../src/source/objects.ts';
import { isKnownKind, parseObject } from '../../src/source/parse/object.ts';
import { createStore } from '../../src/source/store.ts';
import { createState, setHost } from '../../src/table/state.ts';
import { planService } from '../../src/table/plan.ts';
import { printRows } from '../../src/table/print.ts';
import { FakeKernel } from '../support/model/kernelrows.ts';
import { capacity, program } from '../support/model/transactions.ts';

const folder = import.meta.dirname;
const nodeName = 'node-a';
const nodeAddresses = ['192.0.2.1', '2001:db8::1'];
interface Step {
  readonly verb: string;
  readonly words: readonly string[];
  readonly body: string;
}

function parseSteps(text: string): { head: string; steps: readonly Step[] } {
  const [head = '', ...parts] = text.split(/^-- /m);
  const steps = parts.map((part) => {
    const end = part.indexOf('\n');
    const [verb = '', ...words] = part.slice(0, end).trim().split(/\s+/);
    return { verb, words, body: part.slice(end + 1) };
  });
  return { head, steps };
}

function printSteps(head: string, steps: readonly Step[]): string {
  return head + steps.map(({ verb, words, body }) => `-- ${[verb, ...words].join(' ')}\n${body}`).join('');
}

interface Sluice {
  apply(changes: readonly Change[]): void;
  setHost(facts: HostFacts): void;
  rows(): string;
}

/** One Sluice without a kernel. */
function setUp(): Sluice {
  const kernel = new FakeKernel();
  const state = createState({ ...capacity, devices: 16 });
  const store = createStore({ nodeName, schedule: (task) => task() });
  const programServices = (services: readonly string[]): void => {
    const node = { name: nodeName, zone: store.zone(), addresses: nodeAddresses };
    program(state, kernel, (transaction) => {
      for (const key of services)
        planService(state, transaction, key, buildServicePorts(store.service(key), store.slices(key), node));
    });
  };
  store.subscribe({ onServices: programServices });
  store.synced();
  return {
    apply: (changes) => store.changes(changes),
    setHost: (facts) => {
      setHost(state, facts);
      programServices([]);
    },
    rows: () => printRows(kernel.rows()),
  };
}

function factsOf(words: readonly string[]): HostFacts {
  const isDevice = (word: string): boolean => /^\d+:(pod|uplink|host)$/.test(word);
  return {
    addresses: words
      .filter((word) => !isDevice(word))
      .map((word) => {
        const [address = '', ...marks] = word.split('+');
        return { address, nodePort: marks.includes('node-port'), loopback: marks.includes('loopback') };
      }),
    devices: words.filter(isDevice).map((word) => {
      const [ifindex, role] = word.split(':') as [string, DeviceRole];
      return {
        ifindex: Number(ifindex),
        role,
        addr4: '192.0.2.1',
        addr6: undefined,
        mac: '',
        netns: -1,
        bridge: 0,
        rpFilter: 0,
        rpFilter6: 0,
        lower: 0,
        vlan: 0,
      };
    }),
    podRanges: [],
  };
}

function changesOf({ verb, words, body }: Step): Change[] {
  if (verb === 'apply')
    return parseAllDocuments(body).flatMap((document) => putOf(document.toJS() as { kind: string } | null));
  if (verb !== 'delete') throw new Error(`unknown step ${verb}`);
  const [kind = '', place = ''] = words;
  const [namespace = '', name = ''] = place.split('/');
  if (!isKnownKind(kind)) throw new Error(`unknown kind ${kind}`);
  return [{ op: 'del', kind, namespace, name }];
}

function putOf(raw: { kind: string } | null): Change[] {
  if (raw === null) return [];
  if (!isKnownKind(raw.kind)) throw new Error(`unknown kind ${raw.kind}`);
  const { object, problems } = parseObject(raw.kind, raw);
  if (object === undefined) throw new Error(`${raw.kind}: ${JSON.stringify(problems)}`);
  return [{ op: 'put', object }];
}

for (const file of readdirSync(folder).filter((name) => name.endsWith('.txt'))) {
  const path = join(folder, file);
  const { head, steps } = parseSteps(readFileSync(path, 'utf8'));
  t.test(`${file}: ${head.split('\n')[0]?.replace(/^# /, '') ?? ''}`, async (t) => {
    const sluice = setUp();
    const written = steps.map((step, index) => {
      if (step.verb === 'host') sluice.setHost(factsOf(step.words));
      else if (step.verb !== 'rows') sluice.apply(changesOf(step));
      if (step.verb !== 'rows') return step;
      const rows = sluice.rows();
      if (process.env['UPDATE'] === undefined) t.equal(rows, step.body.trim(), `step ${index + 1}`);
      return { ...step, body: `${rows}\n${index + 1 < steps.length ? '\n' : ''}` };
    });
    if (process.env['UPDATE'] !== undefined) writeFileSync(path, printSteps(head, written));
  });
}
