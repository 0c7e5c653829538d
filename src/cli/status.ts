// sluice status: whether this node forwards Services, and what is wrong if it does not.
import type { Status } from '../api/bodies.ts';
import { formatCount, formatDuration } from '../units.ts';
import { getJson } from './client.ts';
import { exitCodes } from './exit.ts';
import { facts, json, printLine, printProblem, table } from './output.ts';
import type { ReadOptions, Terminal } from './terminal.ts';

export async function showStatus({ api, output }: ReadOptions, { write, now }: Terminal): Promise<number> {
  const status = await getJson<Status>(api, '/v1/status', 'node');
  write(output === 'json' ? json(status) : printStatus(status, now()));
  return status.ready ? exitCodes.ok : exitCodes.failed;
}

export function printStatus(status: Status, now: Date): string {
  const sections = [
    printSummary(status, now),
    printDevices(status),
    printExempt(status),
    printMaps(status),
    printVerdicts(status),
    printCounters(status),
    printUnprogrammed(status),
    printProblems(status, now),
  ];
  return sections.filter((section) => section !== '').join('\n');
}

function printSummary(status: Status, now: Date): string {
  const { source, lastSync } = status;
  const synced = source.synced ? 'synced' : 'not synced yet';
  const sync =
    lastSync === undefined
      ? 'none yet'
      : `${ago(lastSync.at, now)}, ${formatCount(lastSync.operations)} rows in ${lastSync.tookMs.toFixed(1)} ms`;
  return facts([
    [
      'node',
      `${status.node}${status.nodeAddresses.length > 0 ? ` (${status.nodeAddresses.join(', ')})` : ''}`,
    ],
    ['state', status.ready ? 'ready' : `not ready: ${status.missing.join('; ')}`],
    ['agent', `sluice ${status.version}, up ${formatDuration(status.uptimeSec)}`],
    ['source', `${source.description}, ${synced}`],
    [
      'services',
      `${String(status.services)} with ${String(status.servicePorts)} ports and ${String(status.backends)} backends`,
    ],
    ...(source.problems.length > 0
      ? [['problems', `${String(source.problems.length)}, below`] as const]
      : []),
    [
      'last sync',
      status.failingSince === undefined ? sync : `${sync}; failing since ${ago(status.failingSince, now)}`,
    ],
    ['socket hooks', describeHooks(status.socketHooks)],
  ]);
}

/** The cgroup where they are attached, or why they are not. */
function describeHooks({ state, detail }: Status['socketHooks']): string {
  return state === 'on' ? `on, at ${detail}` : `${state}: ${detail}`;
}

function printDevices({ devices }: Status): string {
  return table(
    [
      { title: 'DEVICE', cell: ({ name }) => name },
      { title: 'ROLE', cell: ({ role }) => role },
      { title: 'TC', cell: ({ tc }) => tc },
      { title: 'XDP', cell: ({ xdp }) => xdp },
    ],
    devices,
    'not attached to any device',
  );
}

interface ExemptGroup {
  readonly reason: string;
  readonly all: Status['exempt'];
}

const namesShown = 8;

/** Grouped by reason: a namespace or a mesh may exempt every pod of the node. */
function printExempt({ exempt }: Status): string {
  if (exempt.length === 0) return '';
  const reasons = [...new Set(exempt.map(exemptReason))];
  const groups = reasons.map((reason): ExemptGroup => {
    return { reason, all: exempt.filter((one) => exemptReason(one) === reason) };
  });
  return table(
    [
      { title: 'EXEMPT', cell: ({ reason }) => reason },
      { title: 'COUNT', cell: ({ all }) => String(all.length), right: true },
      { title: 'NOT FOUND', cell: ({ all }) => String(all.filter(isNotFound).length), right: true },
      { title: 'NAMES', cell: ({ all }) => namesOf(all) },
    ],
    groups,
    '',
  );
}

function exemptReason({ reason, mesh }: Status['exempt'][number]): string {
  return mesh === '' ? reason : `${reason} ${mesh}`;
}

function isNotFound({ cgroups }: Status['exempt'][number]): boolean {
  return cgroups === 0;
}

/** Those without a cgroup first: the hooks do not leave them alone. */
function namesOf(all: Status['exempt']): string {
  const names = [...all.filter(isNotFound), ...all.filter((one) => !isNotFound(one))].map(({ name }) => name);
  const more = names.length - namesShown;
  return names.slice(0, namesShown).join(', ') + (more > 0 ? ` and ${String(more)} more` : '');
}

function printMaps({ maps }: Status): string {
  return table(
    [
      { title: 'MAP', cell: ({ name }) => name },
      { title: 'ENTRIES', cell: ({ used }) => String(used), right: true },
      { title: 'SIZE', cell: ({ size }) => String(size), right: true },
      { title: 'MAX', cell: ({ bound }) => String(bound), right: true },
      {
        title: 'FILL',
        cell: ({ used, bound }) => `${((used * 100) / Math.max(1, bound)).toFixed(1)} %`,
        right: true,
      },
    ],
    maps,
    'no maps yet',
  );
}

function printVerdicts({ verdicts }: Status): string {
  return table(
    [
      { title: 'HOOK', cell: ({ hook }) => hook },
      { title: 'VERDICT', cell: ({ verdict }) => verdict },
      { title: 'CLASS', cell: (row) => row.class },
      { title: 'COUNT', cell: ({ packets }) => formatCount(packets), right: true },
    ],
    verdicts.filter(({ packets }) => packets > 0),
    'no packets seen yet',
  );
}

function printCounters({ counters }: Status): string {
  const seen = counters.filter(({ count }) => count > 0);
  if (seen.length === 0) return '';
  return table(
    [
      { title: 'COUNTER', cell: ({ counter }) => counter },
      { title: 'COUNT', cell: ({ count }) => formatCount(count), right: true },
    ],
    seen,
    '',
  );
}

const unprogrammedShown = 50;

function printUnprogrammed({ unprogrammed, warnings }: Status): string {
  const more = unprogrammed.length - unprogrammedShown;
  return [
    ...warnings.map((text) => printLine('warning', text)),
    ...unprogrammed.slice(0, unprogrammedShown).map(({ reason }) => printLine('unserved', reason)),
    ...(more > 0 ? [printLine('unserved', `${String(more)} more; -o json has them all`)] : []),
  ].join('');
}

const problemsShown = 20;

function printProblems(status: Status, now: Date): string {
  const { source } = status;
  const more = source.problems.length - problemsShown;
  const missing = status.features.filter(({ supported }) => !supported);
  const lines = [
    ...source.problems.slice(0, problemsShown).map(printProblem),
    ...(more > 0 ? [printLine('problem', `${String(more)} more: sluice status -o json`)] : []),
    ...status.errors.map(({ at, code, message }) =>
      printLine('error', `${ago(at, now)}: ${code}: ${message}`),
    ),
    ...missing.map(({ name, detail }) => printLine('fallback', `${name}: ${detail}`)),
  ];
  return lines.join('');
}

function ago(at: string, now: Date): string {
  return `${formatDuration((now.getTime() - Date.parse(at)) / 1_000)} ago`;
}
