// npm run bench -- NAME [--json] [--quick]: runs one bench and prints its figures with the machine they belong to.
// npm run bench -- datapath --against REF [--only CASE]: the ratio to another revision.
import { parseArgs } from 'node:util';
import { cpus, loadavg, release, totalmem } from 'node:os';
import { beginning, waitingForNothing } from '../test/support/run/heartbeat.ts';

interface Flags {
  readonly quick?: boolean;
  readonly json?: boolean;
  readonly against?: string;
  readonly only?: string;
}

interface Bench {
  run(options: Flags): Promise<object>;
  /** Figures to read; without it every figure is a line of its own. */
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

/** Figures of a machine with other work are worse, and spread more: above this load they are not for keeping. */
const quietLoad = 0.5;

function fail(message: string, status: number): never {
  process.stderr.write(`${message}\n`);
  process.exit(status);
}

function readArguments(): { name: string; flags: Flags } {
  const flag = { type: 'boolean' } as const;
  const text = { type: 'string' } as const;
  const options = { json: flag, quick: flag, against: text, only: text };
  try {
    const { positionals, values } = parseArgs({ options, allowPositionals: true });
    const [name = '', ...more] = positionals;
    if (more.length === 0 && (name === 'datapath' || (values.against ?? values.only) === undefined))
      return { name, flags: values };
  } catch {
    // said below
  }
  return { name: '', flags: {} };
}

const { name, flags } = readArguments();
const load = benches[name];
if (load === undefined) {
  const names = Object.keys(benches).join('|');
  fail(
    `usage: npm run bench -- ${names} [--json] [--quick]\n       npm run bench -- datapath --against REF [--only CASE] [--json] [--quick]`,
    2,
  );
}
const loadBefore = loadavg()[0] ?? 0;
if (flags.json === true && loadBefore > quietLoad) {
  fail(
    `bench: load is ${loadBefore.toFixed(2)}: no figures are recorded above ${String(quietLoad)}. Stop other work, or leave out --json to see the figures alone.`,
    1,
  );
}

const { run, show } = await load(); // may run all of this once more in a namespace, and not return
beginning(`bench: ${name}`);
const result = await run(flags);
waitingForNothing();
const document = {
  ...(flags.against === undefined
    ? { bench: name }
    : { bench: 'before', how: `\`npm run bench -- datapath --against ${flags.against} --json\`` }),
  at: new Date().toISOString(),
  machine: {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cpus: cpus().length,
    memoryMb: Math.round(totalmem() / 2 ** 20),
    kernel: release(),
    node: process.version,
    loadBefore: Number(loadBefore.toFixed(1)),
  },
  result,
};
if (flags.json === true) process.stdout.write(`${JSON.stringify(document, null, 2)}\n`);
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
