// The command line without a process, and an API for it to talk to.
import { buildApi, listenApi } from '../../../src/api/server.ts';
import { runProgram } from '../../../src/cli/program.ts';
import type { Commands } from '../../../src/cli/commands.ts';
import { fakeView } from './view.ts';

type Tap = { teardown(end: () => unknown): void };

const noCommands: Commands = {
  restart: () => Promise.reject(new Error('not here')),
  agent: () => Promise.reject(new Error('not here')),
  check: () => Promise.reject(new Error('not here')),
  prepare: () => Promise.reject(new Error('not here')),
  clean: () => Promise.reject(new Error('not here')),
};

/** Runs one command line at one minute past the new year, and gathers what it prints. */
export async function sluice(args: readonly string[], commands: Partial<Commands> = {}) {
  const printed = { out: '', err: '' };
  const code = await runProgram(
    args,
    { ...noCommands, ...commands },
    {
      write: (text) => {
        printed.out += text;
      },
      writeError: (text) => {
        printed.err += text;
      },
      now: () => new Date('2026-01-01T00:01:00.000Z'),
    },
  );
  return { code, ...printed };
}

/** The address of an API that answers with this view until the test ends. */
export async function serve(t: Tap, view = fakeView()): Promise<string> {
  const app = await buildApi(view, '0.1.0');
  t.teardown(() => app.close());
  return listenApi(app, { host: '127.0.0.1', port: 0 });
}
