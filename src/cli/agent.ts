// sluice agent: options from the schema, then the agent until it is told to stop.
import { hostname } from 'node:os';
import { readFileSync } from 'node:fs';
import { Option, type Command } from 'commander';
import { options } from '../config.ts';
import { loadConfig } from '../configure.ts';
import { exitCodes } from './exit.ts';
import type { Rooms } from './rooms.ts';

export function addAgentOptions(command: Command): void {
  command.option(
    '--config <FILE>',
    'YAML file of options by the names of the flags in camelCase, such as nodeName; flags and environment win over it (env SLUICE_CONFIG)',
  );
  for (const { flag, metavar, description, env, fallback } of options) {
    command.addOption(
      new Option(`${flag} <${metavar}>`, `${description} (env ${env}; default: ${fallback})`),
    );
  }
}

export async function runAgent(rooms: Rooms, flags: Record<string, string | undefined>): Promise<number> {
  const config = loadConfig({
    flags,
    env: process.env,
    configFile: flags['config'],
    readFile: (path) => readFileSync(path, 'utf8'),
    hostname,
  });
  await rooms.agent(config);
  return exitCodes.ok;
}
