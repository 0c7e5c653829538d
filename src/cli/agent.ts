// sluice agent: options from the schema and from kube-proxy, then the agent until it is told to stop.
import { readFileSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { Option, type Command } from 'commander';
import { options } from '../config/schema.ts';
import { formatConfig } from '../config/file.ts';
import { messageOf, SluiceError } from '../errors.ts';
import { configPath, loadConfig, type ConfigSources } from '../config/load.ts';
import { proxyFlags } from '../config/kubeproxy/flags.ts';
import type { ConfigOrigin } from '../config/watch.ts';
import { version } from '../version.ts';
import { cleanNode } from './clean.ts';
import { exitCodes } from './exit.ts';
import type { Commands } from './commands.ts';
import type { Verb } from './verb.ts';

const indent = '        ';

export function addAgentOptions(command: Command): void {
  // Long names beside long texts leave no room for either: the text goes below.
  command.configureHelp({
    // Not commander's, which adds what a switch alone means.
    optionDescription: ({ description }) => description,
    formatItem: (term, _width, text, helper) =>
      `  ${term}\n${indent}${helper.boxWrap(text, (helper.helpWidth ?? 80) - indent.length).replaceAll('\n', `\n${indent}`)}`,
  });
  command.option(
    '--config <FILE>',
    "YAML file of options, named as the flags but in camelCase, such as nodeName; flags and environment win over it (SLUICE_CONFIG). kube-proxy's own file is understood as well",
  );
  for (const { flag, kind, metavar, description, env, fallback } of options) {
    const text = `${description} (${env}; default: ${fallback})`;
    const option = flagOption(flag, metavar, kind === 'switch', text);
    command.addOption(kind === 'list' ? option.argParser(inAddition) : option);
  }
  for (const { flag, form } of proxyFlags) {
    const name = flag === 'v' ? '-v, --v' : `--${flag}`;
    command.addOption(flagOption(name, 'VALUE', form.isSwitch === true, '').hideHelp());
  }
  addErrands(command);
}

/** A list that is given in parts, as kube-proxy takes it. */
function inAddition(value: string, before: string | undefined): string {
  return before === undefined || before === '' ? value : `${before},${value}`;
}

/** A switch alone means true. */
function flagOption(flag: string, metavar: string, isSwitch: boolean, description: string): Option {
  return isSwitch
    ? new Option(`${flag} [${metavar}]`, description).preset('true')
    : new Option(`${flag} <${metavar}>`, description);
}

/** What kube-proxy can be asked to do instead of running. */
function addErrands(command: Command): void {
  command
    .option('--cleanup [true|false]', 'take everything of ours and of kube-proxy off this node, and end')
    .option('--init-only [true|false]', "do to the node what takes root's rights, and end")
    .option('--write-config-to <FILE>', 'write the options that are in force to a file, and end')
    .option('--version', 'print the version, and end')
    .addHelpText('after', '\nFlags of kube-proxy are taken too: docs/config.md tells what becomes of each.');
}

function isOn(flag: string | boolean | undefined): boolean {
  return flag === true || /^(?:true|t|1)$/i.test(String(flag));
}

type Flags = Readonly<Record<string, string | boolean | undefined>>;

export async function runAgent(commands: Commands, flags: Flags, verb: Verb): Promise<number> {
  if (flags['version'] === true) {
    verb.write(`${version}\n`);
    return exitCodes.ok;
  }
  const notes: string[] = [];
  const sources = sourcesOf(flags);
  const config = loadConfig({ ...sources, note: (text) => notes.push(text) });
  const writeTo = flags['writeConfigTo'];
  if (typeof writeTo === 'string') writeConfig(writeTo, formatConfig(config, hostname()));
  else if (isOn(flags['cleanup'])) {
    return cleanNode(commands, { bpffs: config.bpffs, kubeProxy: true, force: false, output: 'table' }, verb);
  } else if (isOn(flags['initOnly'])) await commands.prepare(config);
  else {
    const path = configPath(sources);
    const file = path === undefined ? undefined : originOf(path, sources);
    // In this process: one that ends looks like a crash to its supervisor if it has failed, and may stay down if it has not.
    if ((await commands.agent(config, { notes, file })) === 'restart') await commands.restart();
  }
  return exitCodes.ok;
}

function writeConfig(path: string, text: string): void {
  try {
    writeFileSync(path, text);
  } catch (cause) {
    throw new SluiceError('SLB_E_USAGE', `--write-config-to: ${messageOf(cause)}`, { cause });
  }
}

function originOf(path: string, sources: ConfigSources): ConfigOrigin {
  return { path, text: () => sources.readFile(path), reload: () => loadConfig(sources) };
}

function sourcesOf(flags: Flags): ConfigSources {
  const texts = Object.entries(flags).filter(
    (entry): entry is [string, string] => typeof entry[1] === 'string',
  );
  const given = Object.fromEntries(texts);
  return {
    flags: given,
    env: process.env,
    configFile: given['config'],
    readFile: (path) => readFileSync(path, 'utf8'),
    hostname,
  };
}
