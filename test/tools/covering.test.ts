// Finding the tests of a file.
import t from 'tap';
import { testsOf } from '../support/run/covering.ts';

const tests = [
  'test/unit/table/plan.test.ts',
  'test/unit/model/build.test.ts',
  'test/bpf/track.test.ts',
  'test/verifier/load.test.ts',
];

t.test('tests that import a file, by themselves or through support, are its tests', async (t) => {
  t.strictSame(testsOf('src/table/plan.ts', tests), ['test/unit/table/plan.test.ts']);
  t.strictSame(testsOf('src/net/cidr.ts', tests).includes('test/unit/model/build.test.ts'), true);
  t.strictSame(testsOf('bpf/stage/track.h', tests), tests.slice(2));
  t.strictSame(testsOf('src/no/such.ts', tests), []);
});
