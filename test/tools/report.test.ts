// The counting of the test run itself: a runner that miscounts hides every other failure.
import t from 'tap';
import { reporter, type Report } from '../support/run/report.ts';

function read(tap: string, trouble?: string): Report {
  const { parser, finish } = reporter();
  parser.end(tap);
  return finish(trouble);
}

const nested = `TAP version 14
# Subtest: outer
    ok 1 - first
    # Subtest: inner
        ok 1 - deep
        not ok 2 - wrong
          ---
          diff: |
            -1
            +2
          source: t.equal(1, 2)
          ...
        1..2
    not ok 2 - inner
    1..2
not ok 1 - outer
ok 2 - later # SKIP needs another kernel
1..2
`;

t.test('assertions count, the lines that sum up a subtest do not', async (t) => {
  const report = read(nested, 'ended with exit code 1');
  t.equal(report.passed, 2);
  t.equal(report.failed, 1);
  t.same(report.failures, [{ name: 'outer › inner › wrong', detail: 'diff:\n  -1\n  +2' }]);
  t.same(report.skipped, ['later: needs another kernel']);
});

const complete = 'TAP version 14\nok 1 - fine\n1..1\n';

t.test('a file with an error exit fails although all its assertions passed', async (t) => {
  t.same(read(complete, 'no end after 3 s').failures, [{ name: 'no end after 3 s', detail: '' }]);
  t.equal(read(complete).failed, 0);
});

t.test('a plan that was not kept is a failure', async (t) => {
  t.equal(read('TAP version 14\n1..2\nok 1 - fine\n').failed, 1);
  t.equal(read('TAP version 14\nok 1 - fine\n').failed, 1, 'no plan at all');
  t.equal(read('').failed, 1, 'nothing at all');
});

t.test('bailing out is a failure', async (t) => {
  const report = read('TAP version 14\nok 1 - fine\nBail out! no kernel\n');
  t.match(report.failures, [{ detail: /no kernel/ }]);
});
