// sluice agent: options from the schema, then the agent until it is told to stop.
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { Option, type Command } from 'commander';
import { options } from '../config.ts';
import { loadConfig } from '../configure.ts';
import { exitCodes } from './exit.ts';
import type { Rooms } from './rooms.ts';

const indent = '        ';

export function addAgentOptions(command: Command): void {
  // Long names beside long texts leave no room for either: the text goes below.
  command.configureHelp({
    formatItem: (term, _width, text, helper) =>
      `  ${term}\n${indent}${helper.boxWrap(text, (helper.helpWidth ?? 80) - indent.length).replaceAll('\n', `\n${indent}`)}`,
  });
  command.option(
    '--config <FILE>',
    'YAML file of options, named as the flags but in camelCase, such as nodeName; flags and environment win over it (SLUICE_CONFIG)',
  );
  for (const { flag, kind, metavar, description, env, fallback } of options) {
    // A switch alone means true.
    const value = kind === 'switch' ? `[${metavar}]` : `<${metavar}>`;
    const option = new Option(`${flag} ${value}`, `${description} (${env}; default: ${fallback})`);
    command.addOption(kind === 'switch' ? option.preset('true') : option);
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
