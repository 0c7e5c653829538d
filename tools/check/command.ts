import { spawn } from 'node:child_process';
import { delimiter, resolve } from 'node:path';

const LINES = 60;

/** A check by another program: its output is the list of problems when it fails. */
export function commandCheck(command: string, ...args: string[]): () => Promise<readonly string[]> {
  return () =>
    new Promise((done) => {
      const path = `${resolve('node_modules/.bin')}${delimiter}${process.env['PATH'] ?? ''}`;
      const child = spawn(command, args, {
        env: { ...process.env, PATH: path },
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      let output = '';
      for (const stream of [child.stdout, child.stderr]) {
        stream.setEncoding('utf8').on('data', (text: string) => (output += text));
      }
      child.on('error', (error) => done([`${command}: ${error.message}`]));
      child.on('close', (code) => {
        const lines = output
          .trimEnd()
          .split('\n')
          .filter((line) => line !== '');
        if (code === 0) done([]);
        else
          done([
            ...lines.slice(0, LINES),
            ...(lines.length > LINES ? ['…'] : []),
            `${command} ended with ${code ?? 'a signal'}`,
          ]);
      });
    });
}
