// The table room: ids, ranges, Maglev tables, and the rows that follow from service ports.
import t from 'tap';
import fc from 'fast-check';
import { slbLimits } from '../../../src/abi/layout.gen.ts';
import { buildServicePorts } from '../../../src/model/build.ts';
import type { EndpointObject, ServiceObject } from '../../../src/source/objects.ts';
import { createIds, slotOf, successorOf } from '../../../src/table/ids.ts';
import { createState, type TableState } from '../../../src/table/state.ts';
import { buildTable, tableSizes } from '../../../src/table/maglev.ts';
import { phases } from '../../../src/table/order.ts';
import { planLeftovers, planService } from '../../../src/table/plan.ts';
import { createTablePool, identitiesOf } from '../../../src/table/pool.ts';
import { createExtents } from '../../../src/table/extents.ts';
import { restoreState } from '../../../src/table/restore.ts';
import { closeTransaction, openTransaction, type Transaction } from '../../../src/table/transaction.ts';
import { lists } from '../../../src/table/rows.ts';
import { FakeKernel } from '../../support/model/kernelrows.ts';
import { endpoint, service, slice } from '../../support/kube/objects.ts';
import { holds } from '../../support/run/property.ts';
import { capacity, die, program } from '../../support/model/transactions.ts';

const here = { name: 'node-a', zone: 'west', addresses: ['192.0.2.1'] };

function put(
  state: TableState,
  kernel: FakeKernel,
  object: ServiceObject,
  endpoints: readonly (string | EndpointObject)[],
) {
  const ports = buildServicePorts(object, [slice('s', object.meta.name, endpoints)], here);
  return program(state, kernel, (transaction) =>
    planService(state, transaction, `default/${object.meta.name}`, ports),
  );
}

function drop(state: TableState, kernel: FakeKernel, name: string) {
  return program(state, kernel, (transaction) => planService(state, transaction, `default/${name}`, []));
}

t.test('ids: slot and generation, oldest free slot first', async (t) => {
  t.equal(slotOf(0xffffffff), slbLimits.SLOT_MASK, 'the same split as in C');
  t.equal(successorOf(5) >>> slbLimits.SLOT_BITS, 1);
  t.equal(successorOf(0xfff00005), 5, 'generations wrap');
  const ids = createIds(4);
  t.same([ids.take(), ids.take(), ids.take(), ids.take()], [1, 2, 3, undefined], 'slot 0 is never used');
  ids.release(2);
  ids.release(1);
  t.same([ids.take(), ids.take()], [successorOf(2), successorOf(1)]);
  t.equal(ids.used, 3);
  const seeded = createIds(4, { live: [successorOf(2)], free: [successorOf(successorOf(3))] });
  t.equal(seeded.used, 1);
  t.same([seeded.take(), seeded.take(), seeded.take()], [1, successorOf(successorOf(3)), undefined]);
});

t.test('extents never overlap, and merge when freed', async (t) => {
  const step = fc.record({ size: fc.integer({ min: 1, max: 40 }), free: fc.nat() });
  holds(
    t,
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const ranges = createExtents(256, 1);
      const taken: { first: number; size: number }[] = [];
      for (const { size, free } of steps) {
        const first = ranges.take(size);
        if (first !== undefined) {
          if (first < 1 || first + size > 256) return false;
          if (taken.some((other) => first < other.first + other.size && other.first < first + size))
            return false;
          taken.push({ first, size });
        }
        if ((first === undefined || free % 3 === 0) && taken.length > 0) {
          const [gone] = taken.splice(free % taken.length, 1);
          ranges.release(gone!.first, gone!.size);
        }
      }
      for (const { first, size } of taken) ranges.release(first, size);
      return ranges.used === 0 && ranges.take(255) === 1;
    }),
  );
  const ranges = createExtents(10);
  t.ok(ranges.adopt(3, 4));
  t.notOk(ranges.adopt(6, 2), 'overlaps');
  t.notOk(ranges.adopt(9, 2), 'beyond the end');
  t.equal(ranges.take(4), undefined);
  t.equal(ranges.take(3), 0);
});

t.test('Maglev: the table size depends on the backends alone', async (t) => {
  t.same(
    [1, 2, 3, 10, 100, 1000, 5000].map((count) => tableSizes(count)[0]),
    [251, 251, 509, 1021, 16381, 131071, 131071],
  );
  t.same(tableSizes(10), [1021, 509, 251], 'smaller ones for a map that is nearly full');
  t.ok(
    tableSizes(3000).every((size) => size >= 3000),
    'every backend gets a row',
  );
});

t.test('Maglev: 100 backends share evenly, and one less moves few', async (t) => {
  const all = Array.from({ length: 100 }, (_, i) => `10.${i % 7}.0.${i}`).sort();
  const size = tableSizes(100)[0]!;
  const table = buildTable(all, size);
  const share = new Uint32Array(100);
  for (const position of table) share[position]!++;
  t.ok(Math.max(...share) / Math.min(...share) <= 1.1, 'max/min share');
  for (let gone = 0; gone < 100; gone++) {
    const rest = all.filter((_, i) => i !== gone);
    const after = buildTable(rest, size);
    const moved = table.reduce(
      (n, old, row) => n + Number(old !== gone && all[old] !== rest[after[row]!]),
      0,
    );
    if (moved / (size - share[gone]!) > 0.02) t.fail(`without ${all[gone]}: ${moved} of ${size} rows moved`);
  }
});

t.test('Maglev: fixed, so that agents of every version and machine agree', async (t) => {
  t.same([...buildTable(['10.0.0.1', '10.0.0.2', '10.0.0.3'], 13)], [1, 2, 2, 0, 1, 0, 2, 1, 0, 0, 2, 0, 1]);
  t.same(new Set(buildTable(['fd00::1'], 251)), new Set([0]));
});

t.test('tables are shared by equal backends and freed with the last', async (t) => {
  const pool = createTablePool(createExtents(1021 + 251));
  const ten = Array.from({ length: 10 }, (_, i) => `10.0.0.${i}`);
  const first = pool.take(ten);
  t.ok(first?.positions, 'written once');
  const second = pool.take(ten);
  t.equal(second?.table, first?.table);
  t.equal(second?.positions, undefined);
  t.equal(pool.take(['a', 'b'])?.table.size, 251, 'the rest of the map');
  t.equal(pool.take(['c', 'd']), undefined, 'full');
  pool.release(first!.table);
  t.equal(pool.take(['c', 'd']), undefined, 'still one user');
  pool.release(first!.table);
  t.equal(pool.take(['c', 'd'])?.table.size, 251);
  const twins = [
    { address: '10.0.0.1', port: 1 },
    { address: '10.0.0.1', port: 2 },
  ];
  t.equal(new Set(identitiesOf(twins)).size, 2, 'ports tell apart what addresses do not');
});

t.test('one service: created, scaled, emptied, filled, deleted', async (t) => {
  const state = createState(capacity);
  const kernel = new FakeKernel();
  const web = service('web', ['10.96.0.1']);
  put(state, kernel, web, ['10.0.0.1', '10.0.0.2']);
  const before = kernel.rows();
  t.equal(put(state, kernel, web, ['10.0.0.2', '10.0.0.1']).rows, 0, 'order of endpoints is nothing (S-6)');
  put(state, kernel, web, ['10.0.0.1', '10.0.0.2', '10.0.0.3']);
  t.same(kernel.rows().backends.slice(0, 2), before.backends, 'ids of those that stay, stay');
  put(state, kernel, web, []);
  t.equal(kernel.rows().services[0]?.clusterSet, 0, 'the empty set');
  t.equal(kernel.rows().services[0]?.flags, 0, 'to be refused (S-36)');
  t.equal(state.tables.ranges.used, 0);
  put(state, kernel, web, ['10.0.0.1']);
  drop(state, kernel, 'web');
  t.same(kernel.rows().frontends, []);
  for (const used of [state.serviceIds, state.backendIds, state.setRows, state.slotRows, state.tables.ranges])
    t.equal(used.used, 0, 'nothing is lost');
});

t.test('endpoints that serve but are not chosen keep a row for their UDP flows (S-90)', async (t) => {
  const state = createState(capacity);
  const kernel = new FakeKernel();
  const leaving = endpoint('10.0.0.1', { ready: false, terminating: true });
  const dead = endpoint('10.0.0.3', { ready: false, serving: false });
  put(state, kernel, service('dns', ['10.96.0.1']), [leaving, '10.0.0.2', dead]);
  t.same(
    kernel.rows().backends.map((row) => [row.address, row.lists]),
    [
      ['10.0.0.1', 0],
      ['10.0.0.2', lists.cluster],
    ],
  );
});

t.test('two Services claim one frontend: one answers, the other takes over (S-19)', async (t) => {
  const state = createState(capacity);
  const kernel = new FakeKernel();
  const served = () => kernel.rows().frontends.find((row) => row.port === 80)?.service;
  put(state, kernel, service('b', ['10.96.0.1']), ['10.0.0.1']);
  const b = served();
  put(state, kernel, service('a', ['10.96.0.1']), ['10.0.0.2']);
  t.not(served(), b, 'the first by name, whichever came first');
  drop(state, kernel, 'a');
  t.equal(served(), b, 'the loser is back');
  put(state, kernel, service('a', ['10.96.0.1']), ['10.0.0.2']);
  drop(state, kernel, 'b');
  t.not(served(), b);
  t.equal(kernel.rows().frontends.length, 2, 'the address row stays while a Service has the address');
  drop(state, kernel, 'a');
  t.same(kernel.rows().frontends, []);
});

t.test('a new service takes over an address in one batch (S-20)', async (t) => {
  const state = createState(capacity);
  const kernel = new FakeKernel();
  put(state, kernel, service('old', ['10.96.0.1']), ['10.0.0.1']);
  const ports = buildServicePorts(service('new', ['10.96.0.1']), [slice('s', 'new', ['10.0.0.9'])], here);
  const transaction = openTransaction();
  planService(state, transaction, 'default/old', []);
  planService(state, transaction, 'default/new', ports);
  const ops = closeTransaction(state, transaction);
  t.same(ops.dropFrontends, [], 'replaced, never absent');
  kernel.apply(ops);
  t.same(ops.freeServices.length, 1);
});

t.test('what does not fit is reported, affects nothing else, and fits later', async (t) => {
  const state = createState({ ...capacity, backends: 4 });
  const kernel = new FakeKernel();
  put(state, kernel, service('a', ['10.96.0.1']), ['10.0.0.1', '10.0.0.2']);
  const { transaction } = put(state, kernel, service('b', ['10.96.0.2']), ['10.0.0.3', '10.0.0.4']);
  t.same(transaction.shortages, [{ service: 'default/b', map: 'slb_backends' }]);
  t.equal(state.backendIds.used, 2, 'nothing half taken');
  t.equal(state.serviceIds.used, 1);
  drop(state, kernel, 'a');
  t.same(put(state, kernel, service('b', ['10.96.0.2']), ['10.0.0.3', '10.0.0.4']).transaction.shortages, []);

  const narrow = createState({ ...capacity, frontends: 2 });
  put(narrow, new FakeKernel(), service('a', ['10.96.0.1']), []);
  const full = put(narrow, new FakeKernel(), service('b', ['10.96.0.2']), []);
  t.match(full.transaction.shortages, [{ service: 'default/b', map: 'slb_frontends' }]);
});

t.test('reused slots start with counters at 0', async (t) => {
  const state = createState({ ...capacity, services: 2, backends: 2 });
  const kernel = new FakeKernel();
  const clears: unknown[] = [];
  for (const name of ['a', 'b']) {
    const ports = buildServicePorts(service(name, ['10.96.0.1']), [slice('s', name, ['10.0.0.1'])], here);
    program(state, kernel, (transaction) => {
      planService(state, transaction, `default/${name}`, ports);
      clears.push([...transaction.clearServiceStats, ...transaction.clearBackendStats]);
    });
    drop(state, kernel, name);
  }
  t.same(clears, [[], [1, 1]]);
});

t.test('a restarted agent keeps ids, sets and tables, and removes what is left over (S-103)', async (t) => {
  const kernel = new FakeKernel();
  const first = createState(capacity);
  put(first, kernel, service('gone', ['10.96.0.9']), ['10.0.0.9']);
  put(first, kernel, service('web', ['10.96.0.1', 'fd00::1']), ['10.0.0.1', '10.0.0.2']);
  put(first, kernel, service('more', ['10.96.0.2']), ['10.0.0.1', '10.0.0.2']);
  const before = kernel.rows();

  const second = restoreState(capacity, kernel.rows());
  t.equal(second.backendIds.used, 5);
  t.equal(second.tables.ranges.used, first.tables.ranges.used);
  t.equal(put(second, kernel, service('web', ['10.96.0.1', 'fd00::1']), ['10.0.0.1', '10.0.0.2']).rows, 0);
  t.equal(put(second, kernel, service('more', ['10.96.0.2']), ['10.0.0.1', '10.0.0.2']).rows, 0);
  program(second, kernel, (transaction) => planLeftovers(second, transaction));
  t.notOk(kernel.rows().frontends.some((row) => row.address === '10.96.0.9'));
  t.same(kernel.rows().services.slice(1), before.services.slice(1));
  t.equal(second.backendIds.used, 4);

  const third = restoreState(capacity, kernel.rows());
  const reused = program(third, kernel, (transaction) => {
    for (let i = 0; i < 28; i++)
      planService(
        third,
        transaction,
        `default/x${i}`,
        buildServicePorts(service(`x${i}`, [`10.97.0.${i}`]), [], here),
      );
  });
  const again = reused.transaction.services.map(({ after }) => after).find((row) => slotOf(row.id) === 1);
  t.ok(again !== undefined && again.id > successorOf(0), 'generations survive the restart');
});

t.test(
  'an agent dies when only ranges are written: the next keeps its own, drops those (S-61, S-103)',
  async (t) => {
    const kernel = new FakeKernel();
    const lb = { loadBalancerIPs: ['203.0.113.9'], loadBalancerSourceRanges: ['198.51.100.0/24'] };
    const ports = buildServicePorts(
      service('web', ['10.96.0.1'], lb),
      [slice('s', 'web', ['10.0.0.1'])],
      here,
    );
    const plan = (state: TableState) => (transaction: Transaction) =>
      planService(state, transaction, 'default/web', ports);
    const first = createState(capacity);
    die(first, kernel, plan(first), phases.indexOf('services'));
    t.equal(kernel.rows().ranges.length, 1);
    const second = restoreState(capacity, kernel.rows());
    t.doesNotThrow(() =>
      program(second, kernel, (transaction) => {
        plan(second)(transaction);
        planLeftovers(second, transaction);
      }),
    );
    const { service: id } = kernel.rows().frontends.find(({ address }) => address === '203.0.113.9')!;
    t.same(
      kernel.rows().ranges.map((row) => [row.service, row.range]),
      [[id, '198.51.100.0/24']],
    );
    t.equal(second.rangeRows.used, 1);
  },
);

t.test('damaged rows are written anew, not trusted', async (t) => {
  const kernel = new FakeKernel();
  put(createState(capacity), kernel, service('web', ['10.96.0.1']), ['10.0.0.1', '10.0.0.2']);
  const rows = kernel.rows();
  const damages = {
    'slots name strangers': { ...rows, slots: rows.slots.map(() => 77) },
    'no backend rows': { ...rows, backends: [] },
    'table out of bounds': { ...rows, sets: rows.sets.map((row) => ({ ...row, maglev: 1 << 30 })) },
    'slots out of bounds': { ...rows, sets: rows.sets.map((row) => ({ ...row, slots: 1 << 30 })) },
  };
  for (const [what, damaged] of Object.entries(damages)) {
    const state = restoreState(capacity, damaged);
    const healed = new FakeKernel();
    const { rows: written } = put(state, kernel, service('web', ['10.96.0.1']), ['10.0.0.1', '10.0.0.2']);
    t.ok(written > 0, what);
    t.doesNotThrow(() => healed.verify(what));
  }
});
