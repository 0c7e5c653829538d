// Every program loads, and costs the verifier about what it did when budget.json was last looked at: a jump shows
// that it has begun to walk paths that were one before, long before an older kernel refuses the program. Another
// kernel's verifier and another compiler's code give other figures: there only a wide margin to the kernel's limit is
// asked for.
//
// After a change that is meant:  SLUICE_UPDATE_BUDGET=1 npx tsx test/verifier/load.test.ts
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { release } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { native, type NativeError } from '../../native/index.ts';
import { buildObjects, objectFile, smallMaps } from '../support/kernel/bpfrun.ts';

interface Budget {
  readonly kernel: string; // on which the figures were taken
  readonly clang: string;
  readonly tolerance: number;
  readonly instructions: Readonly<Record<string, number>>;
}

const file = join(dirname(fileURLToPath(import.meta.url)), 'budget.json');
const budget = JSON.parse(readFileSync(file, 'utf8')) as Budget;
const update = process.env['SLUICE_UPDATE_BUDGET'] === '1';
const series = (kernel: string): string => kernel.split('.').slice(0, 2).join('.');
// Instructions of one program on any kernel, each of which gives up at a million. 6.1 recognises fewer states as known.
const most = series(release()) === '6.1' ? 500_000 : 450_000;
const clang =
  /clang version (\d+)/.exec(execFileSync('clang', ['--version'], { encoding: 'utf8' }))?.[1] ?? '';
const comparable = series(release()) === series(budget.kernel) && clang === budget.clang;

buildObjects();
const measured: Record<string, number> = {};

/** Programs that name a kernel function load where there is one. */
const lookupsConnections = / bpf_skb_ct_lookup\b/.test(readFileSync('/proc/kallsyms', 'latin1'));
const names = ['tc', 'xdp', 'sock', 'gate', 'tc-conntrack', 'xdp-conntrack'] as const;

for (const name of names) {
  const lacking = name.endsWith('-conntrack') && !lookupsConnections;
  t.test(`${name}.bpf.o`, { skip: lacking && 'this kernel has no bpf_skb_ct_lookup' }, (test) => {
    const object = native().openObject(objectFile(name), name);
    const small = Object.entries(smallMaps).filter(([map]) => object.maps().includes(map));
    for (const [map, entries] of small) object.setMaxEntries(map, entries);
    try {
      object.load();
    } catch (error) {
      test.comment((error as NativeError).log?.slice(-4000) ?? '');
      throw error;
    }
    for (const program of object.programs()) {
      const key = name.endsWith('-conntrack') ? `${program}, conntrack` : program;
      measured[key] = object.program(program).verifiedInstructions;
    }
    object.close();
    test.end();
  });
}

t.test('instructions the verifier walked', (test) => {
  if (update) {
    const next: Budget = { kernel: release(), clang, tolerance: budget.tolerance, instructions: measured };
    writeFileSync(file, `${JSON.stringify(next, null, 2)}\n`);
  }
  const isMeant = (name: string): boolean => lookupsConnections || !name.endsWith(', conntrack');
  test.same(
    Object.keys(measured).sort(),
    Object.keys(budget.instructions).filter(isMeant).sort(),
    'every program has a budget',
  );
  for (const [program, walked] of Object.entries(measured)) {
    const wanted = budget.instructions[program] ?? 0;
    test.comment(
      `${program}: ${walked} instructions with clang ${clang} on ${release()}; budget ${wanted} with ${budget.clang} on ${budget.kernel}`,
    );
    if (walked === 0)
      test.pass(`${program}: this kernel does not tell`); // before 5.16
    else if (comparable) {
      const allowed = wanted * (1 + budget.tolerance);
      test.ok(
        update || (walked <= allowed && walked >= wanted * (1 - budget.tolerance)),
        `${program} within its budget`,
      );
    } else test.ok(walked < most, `${program} well below the limit of another kernel or compiler`);
  }
  test.end();
});
