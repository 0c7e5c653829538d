// The order of row changes while packets read the rows and frontends move: a frontend with backends before and after
// has some in between, of its own Service. FakeKernel checks after every row written.
import t from 'tap';
import { buildServicePorts } from '../../../src/model/build.ts';
import type { EndpointObject, ServiceObject } from '../../../src/source/objects.ts';
import { createState, type TableState } from '../../../src/table/state.ts';
import { planLeftovers, planService } from '../../../src/table/plan.ts';
import { restoreState } from '../../../src/table/restore.ts';
import { damaged, kindNumbers, sameService, serviceFlags, type ServiceRow } from '../../../src/table/rows.ts';
import { serviceSteps, type ServiceSteps } from '../../../src/table/steps.ts';
import { FakeKernel, halves, origins, setFor } from '../../support/model/kernelrows.ts';
import { endpoint, service, slice } from '../../support/kube/objects.ts';
import { capacity, program, type Programmed } from '../../support/model/transactions.ts';

const here = { name: 'node-a', zone: '', addresses: [] };

type Wanted = readonly [ServiceObject, readonly (string | EndpointObject)[]];

/** All of these in one transaction. */
function put(state: TableState, kernel: FakeKernel, ...wanted: readonly Wanted[]): Programmed {
  return program(state, kernel, (transaction) => {
    for (const [object, endpoints] of wanted) {
      const { name } = object.meta;
      const slices = [slice(`${name}-1`, name, endpoints)];
      planService(state, transaction, `default/${name}`, buildServicePorts(object, slices, here));
    }
  });
}

/** Which address its connections go to. */
function backendOf(kernel: FakeKernel, address: string): string | undefined {
  const { slots, sets, backends } = kernel.rows();
  const set = sets.find(({ index }) => index === kernel.answer(address, 80, 6)?.clusterSet);
  return set && backends.find(({ id }) => id === slots[set.slots])?.address;
}

const vip = { loadBalancerIPs: ['203.0.113.9'] };

t.test('an address moves to another Service while its own loses its backends', async (t) => {
  for (const order of [1, -1]) {
    const state = createState(capacity);
    const kernel = new FakeKernel();
    put(
      state,
      kernel,
      [service('old', ['10.96.0.1'], vip), ['10.0.0.1']],
      [service('new', ['10.96.0.2']), []],
    );
    t.equal(backendOf(kernel, '203.0.113.9'), '10.0.0.1');
    const edits: Wanted[] = [
      [service('old', ['10.96.0.1']), []],
      [service('new', ['10.96.0.2'], vip), ['10.0.0.2']],
    ];
    t.doesNotThrow(() => put(state, kernel, ...(order > 0 ? edits : edits.reverse())));
    t.equal(backendOf(kernel, '203.0.113.9'), '10.0.0.2');
    t.equal(backendOf(kernel, '10.96.0.1'), undefined);
  }
});

t.test('an address moves twice: each Service is left late and joined early', async (t) => {
  const state = createState(capacity);
  const kernel = new FakeKernel();
  const at = (name: string, last: number, ...ips: string[]) =>
    service(name, [`10.96.0.${last}`], { loadBalancerIPs: ips });
  const [first, second] = ['203.0.113.1', '203.0.113.2'];
  put(state, kernel, [at('a', 1, first), ['10.0.0.1']], [at('b', 2, second), ['10.0.0.2']], [at('c', 3), []]);
  t.doesNotThrow(() =>
    put(
      state,
      kernel,
      [at('a', 1), []],
      [at('b', 2, first), ['10.0.0.3']],
      [at('c', 3, second), ['10.0.0.4']],
    ),
  );
  t.same([backendOf(kernel, first), backendOf(kernel, second)], ['10.0.0.3', '10.0.0.4']);
});

t.test('two Services exchange addresses, and the one with backends keeps serving', async (t) => {
  const state = createState(capacity);
  const kernel = new FakeKernel();
  const other = { loadBalancerIPs: ['203.0.113.1'] };
  const [a, b] = [['10.96.0.1'], ['10.96.0.2']] as const;
  put(state, kernel, [service('a', a, vip), ['10.0.0.1']], [service('b', b, other), []]);
  t.doesNotThrow(() =>
    put(state, kernel, [service('a', a, other), []], [service('b', b, vip), ['10.0.0.2']]),
  );
  t.equal(backendOf(kernel, '203.0.113.9'), '10.0.0.2');
  t.equal(backendOf(kernel, '203.0.113.1'), undefined);
});

t.test('a restarted agent finds a cluster address with another service (S-103)', async (t) => {
  const kernel = new FakeKernel();
  put(createState(capacity), kernel, [service('web', ['10.96.0.1'], vip), ['10.0.0.1']]);
  const next = restoreState(capacity, kernel.rows());
  t.doesNotThrow(() =>
    put(
      next,
      kernel,
      [service('other', ['10.96.0.1']), []],
      [service('web', ['10.96.0.2'], vip), ['10.0.0.1']],
    ),
  );
  program(next, kernel, (transaction) => planLeftovers(next, transaction));
  t.equal(backendOf(kernel, '203.0.113.9'), '10.0.0.1');
  t.equal(backendOf(kernel, '10.96.0.1'), undefined);
});

t.test('a new frontend finds the new rows of its Service', async (t) => {
  const state = createState(capacity);
  const kernel = new FakeKernel();
  const away = { loadBalancerIPs: ['203.0.113.1'], loadBalancerSourceRanges: ['198.51.100.0/24'] };
  put(state, kernel, [service('a', ['10.96.0.1'], vip), ['10.0.0.1']], [service('b', ['10.96.0.2']), []]);
  t.doesNotThrow(() =>
    put(
      state,
      kernel,
      [service('a', ['10.96.0.1'], away), ['10.0.0.2']], // is left, and until then answers as it did
      [service('b', ['10.96.0.2'], vip), ['10.0.0.3']],
    ),
  );
  t.equal(backendOf(kernel, '203.0.113.1'), '10.0.0.2');
});

const { anyEndpoint: any, internalLocal, externalLocal, allow } = serviceFlags;

function row(clusterSet: number, localSet: number, flags: number): ServiceRow {
  return { id: 1, clusterSet, localSet, flags, affinitySec: 0 };
}

t.test('a policy changes: a packet that reads half of the row still finds a list', async (t) => {
  const stay = (before: ServiceRow | undefined, after: ServiceRow): ServiceSteps =>
    serviceSteps({ before, after }, { left: false, joined: false });
  t.same(stay(row(5, 0, any), row(0, 7, any | internalLocal)), {
    early: [row(5, 7, any), row(5, 7, any | internalLocal), row(0, 7, any | internalLocal)],
    late: [],
  });
  t.same(stay(row(5, 0, any), row(6, 0, any)).early, [row(6, 0, any)], 'a set alone is one word');
  t.same(stay(row(5, 0, any), row(5, 0, any)), { early: [], late: [] });
  const mended = row(0, 7, any | internalLocal);
  t.same(stay(row(damaged, 0, any), mended).early, [mended], 'what a damaged row names is no list to keep');

  const state = createState(capacity);
  const kernel = new FakeKernel();
  const mine = [endpoint('10.0.0.1', { nodeName: here.name }), endpoint('10.0.0.2')];
  for (const internalTrafficPolicy of ['Cluster', 'Local', 'Cluster'] as const)
    t.doesNotThrow(() =>
      put(state, kernel, [service('web', ['10.96.0.1'], { internalTrafficPolicy }), mine]),
    );
});

t.test(
  'a row that frontends leave keeps its source ranges, one that they join has its own (S-61)',
  async (t) => {
    const [open, closed] = [row(5, 0, any), row(6, 0, any | allow)];
    for (const [before, after] of [
      [open, closed],
      [closed, open],
    ] as const) {
      t.same(serviceSteps({ before, after }, { left: true, joined: false }), { early: [], late: [after] });
      t.same(serviceSteps({ before, after }, { left: false, joined: true }), { early: [after], late: [] });
      const [between] = serviceSteps({ before, after }, { left: true, joined: true }).early;
      t.equal(between?.flags, any | allow, 'for a moment too strict rather than too open');
    }
  },
);

t.test('every change of a row, with frontends that stay, leave and join', async (t) => {
  const flags = [0, internalLocal, externalLocal, internalLocal | externalLocal];
  const rows = (sets: readonly (readonly [number, number])[]) =>
    sets.flatMap(([cluster, local]) => flags.map((flag) => row(cluster, local, flag)));
  const found: string[] = [];
  for (const before of rows(pairs([0, 1], [0, 2])))
    for (const after of rows(pairs([0, 1, 3], [0, 2, 4])))
      for (const [left, joined] of pairs([false, true], [false, true]))
        found.push(
          ...gapsOf(before, after, serviceSteps({ before, after }, { left, joined }), { left, joined }),
        );
  t.same(found, []);
});

function pairs<A, B>(some: readonly A[], others: readonly B[]): (readonly [A, B])[] {
  return some.flatMap((a) => others.map((b) => [a, b] as const));
}

/** Everything that a packet can read from the first row on, while the others are written over it. */
function seenOf(first: ServiceRow, ...rest: readonly ServiceRow[]): readonly ServiceRow[] {
  return [first, ...rest.flatMap((next, index) => halves(index === 0 ? first : rest[index - 1]!, next))];
}

/**
 * Frontends that find no backends although they should: until frontends move the old ones, from then on the new ones.
 */
function gapsOf(
  before: ServiceRow,
  after: ServiceRow,
  { early, late }: ServiceSteps,
  { left, joined }: { readonly left: boolean; readonly joined: boolean },
): readonly string[] {
  const between = early.at(-1) ?? before;
  const seenEarly = seenOf(before, ...early);
  const seenLate = seenOf(between, ...late);
  const what = JSON.stringify({ before, after, left, joined });
  const gaps = sameService(late.at(-1) ?? between, after) ? [] : [`ends elsewhere: ${what}`];
  for (const [kind, origin] of pairs([kindNumbers.ClusterIP, kindNumbers.NodePort], origins)) {
    const finds = (one: ServiceRow): boolean => setFor(kind, one, origin) !== 0;
    const [did, does] = [finds(before), finds(after)];
    const who = `${kind} ${origin}: ${what}`;
    if (did && does && ![...seenEarly, ...seenLate].every(finds)) gaps.push(`stays ${who}`);
    if (left && did && !seenEarly.every(finds)) gaps.push(`leaves ${who}`);
    if (joined && does && !seenLate.every(finds)) gaps.push(`joins ${who}`);
  }
  return gaps;
}
