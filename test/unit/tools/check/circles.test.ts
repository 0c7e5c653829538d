// The check that no files import each other.
import t from 'tap';
import { circles, findCircles } from '../../../../tools/check/circles.ts';

t.test('a circle of imports is found, however long; files that two others import are none', async (t) => {
  const graph = (entries: Record<string, string[]>) => new Map(Object.entries(entries));
  t.same(findCircles(graph({ a: ['b', 'c'], b: ['d'], c: ['d'], d: [] })), []);
  t.same(findCircles(graph({ a: ['a'] })), [['a', 'a']]);
  t.same(findCircles(graph({ a: ['b'], b: ['c'], c: ['d'], d: ['b', 'e'] })), [['b', 'c', 'd', 'b']]);
  t.same(circles(), [], 'the files of this project');
});
