// Layouts of maps that another version pinned.
import t from 'tap';
import type { MapLayout } from '../../../native/index.ts';
import { sameLayout } from '../../../src/hooks/convert.ts';

const layout = (...names: readonly string[]): MapLayout => ({
  key: { size: 4, fields: [{ name: '', offset: 0, size: 4 }] },
  value: {
    size: names.length,
    fields: names.map((name, offset) => ({ name, offset, size: 1 })),
  },
});

t.test('a field under its former name is the same field, and its map is kept', (t) => {
  t.ok(sameLayout(layout('dead', 'way', 'peer_way'), layout('dead', 'forward', 'peer_forward')));
  t.notOk(sameLayout(layout('dead', 'way'), layout('dead', 'created')), 'one of another meaning is not');
  t.notOk(sameLayout(layout('dead', 'way'), layout('way', 'dead')), 'nor one in another place');
  t.end();
});
