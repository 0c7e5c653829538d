// npm run bench -- NAME [--json] [--quick]: runs one bench and prints its figures with the machine they belong to.
import { cpus, loadavg, release, totalmem } from 'node:os';
import { beginning, waitingForNothing } from '../test/support/heartbeat.ts';

interface Bench {
  run(options: { quick: boolean }): Promise<object>;
  /** The figures for people; without it every figure is a line of its own. */
  readonly show?: (result: never) => string;
}

const benches: Readonly<Record<string, () => Promise<Bench>>> = {
  attach: () => import('./attach.ts'),
  datapath: () => import('./datapath.ts'),
  connections: () => import('./connections.ts'),
  ports: () => import('./ports.ts'),
  sockets: () => import('./sockets.ts'),
  sync: () => import('./sync.ts'),
};

const [name = '', ...flags] = process.argv.slice(2);
const load = benches[name];
if (load === undefined || flags.some((flag) => flag !== '--json' && flag !== '--quick')) {
  process.stderr.write(`usage: npm run bench -- ${Object.keys(benches).join('|')} [--json] [--quick]\n`);
  process.exit(2);
}

const { run, show } = await load(); // may run all of this once more in a namespace, and not return
beginning(`bench: ${name}`);
const loadBefore = loadavg()[0]; // what else was going on: figures of a busy machine are worse, and spread more
const result = await run({ quick: flags.includes('--quick') });
waitingForNothing();
const document = {
  bench: name,
  at: new Date().toISOString(),
  machine: {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cpus: cpus().length,
    memoryMb: Math.round(totalmem() / 2 ** 20),
    kernel: release(),
    node: process.version,
    loadBefore: Number(loadBefore?.toFixed(1)),
  },
  result,
};
if (flags.includes('--json')) process.stdout.write(`${JSON.stringify(document, null, 2)}\n`);
else if (show === undefined) process.stdout.write(table(document));
else process.stdout.write(`${table({ ...document, result: 'below' })}\n${show(result as never)}`);

/** One line a figure, its place in the document as its name. */
function table(value: object): string {
  const lines = flatten('', value);
  const width = Math.max(...lines.map(([path]) => path.length));
  return lines.map(([path, text]) => `${path.padEnd(width)}  ${text}\n`).join('');
}

function flatten(path: string, value: unknown): readonly (readonly [string, string])[] {
  if (typeof value !== 'object' || value === null) return [[path, String(value)]];
  return Object.entries(value).flatMap(([key, inner]) =>
    flatten(path === '' ? key : `${path}.${key}`, inner),
  );
}
