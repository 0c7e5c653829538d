/** Reads the TAP of one test file and boils it down to counts and to the failures. */
import { Parser, type FinalResults, type Result } from 'tap-parser';

export interface Failure {
  readonly name: string;
  readonly detail: string;
}

export interface Report {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: readonly string[];
  readonly failures: readonly Failure[];
}

interface Tally {
  passed: number;
  failures: Failure[];
  skipped: string[];
}

const DETAIL_LINES = 40;

function describe(diag: unknown): string {
  if (diag === null || typeof diag !== 'object') return '';
  const lines: string[] = [];
  for (const [key, value] of Object.entries(diag)) {
    if (key === 'source' || key === 'at') continue; // the stack says where; the source can be opened
    const text = typeof value === 'string' ? value.trimEnd() : JSON.stringify(value, null, 2);
    lines.push(
      ...(text.includes('\n') ? [`${key}:`, ...text.split('\n').map((l) => `  ${l}`)] : [`${key}: ${text}`]),
    );
  }
  if (lines.length > DETAIL_LINES) lines.splice(DETAIL_LINES, Infinity, '…');
  return lines.join('\n');
}

/**
 * Counts assertions, not the summary lines of subtests: a `child` event announces that the next assertion of the same
 * parser only repeats how that subtest ended. Such a line still counts when it fails without any failure inside (a
 * wrong plan).
 */
function watch(parser: Parser, path: readonly string[], tally: Tally): void {
  let failuresBefore: number | undefined;
  parser.on('child', (child: Parser) => {
    failuresBefore = tally.failures.length;
    watch(child, [...path, child.name], tally);
  });
  parser.on('assert', (result: Result) => {
    const inner = failuresBefore;
    failuresBefore = undefined;
    const name = [...path, result.name].join(' › ');
    if (result.skip !== false || result.todo !== false) {
      const reason = result.skip !== false ? result.skip : result.todo;
      tally.skipped.push(typeof reason === 'string' && reason !== '' ? `${name}: ${reason}` : name);
    } else if (inner === undefined && result.ok) tally.passed++;
    else if (!result.ok && (inner === undefined || tally.failures.length === inner)) {
      tally.failures.push({ name, detail: describe(result.diag) });
    }
  });
  parser.on('bailout', (reason: string) =>
    tally.failures.push({ name: [...path, 'bail out'].join(' › '), detail: reason }),
  );
}

/** A parser to pipe TAP into, and the report to ask for when the file has ended with this trouble (or none). */
export function reporter(): { parser: Parser; finish(trouble: string | undefined): Report } {
  const tally: Tally = { passed: 0, failures: [], skipped: [] };
  const parser = new Parser({ strict: false });
  watch(parser, [], tally);
  let plan: string | undefined;
  parser.on('complete', (results: FinalResults) => {
    if (!results.ok)
      plan = results.failures.map((f) => ('tapError' in f ? String(f.tapError) : '')).find(Boolean);
  });
  return {
    parser,
    finish(trouble) {
      const silent = tally.passed + tally.skipped.length === 0 ? 'asserted nothing' : undefined;
      const cause = trouble ?? plan ?? silent;
      // A file that fails although every assertion held (time-out, crash, broken plan) is one failure of its own.
      if (cause !== undefined && tally.failures.length === 0)
        tally.failures.push({ name: cause, detail: '' });
      return {
        passed: tally.passed,
        failed: tally.failures.length,
        skipped: tally.skipped,
        failures: tally.failures,
      };
    },
  };
}
