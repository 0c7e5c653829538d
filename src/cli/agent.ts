// sluice agent: reads the options of src/config/schema.ts and those of kube-proxy, and runs the agent until SIGTERM or
// SIGINT.
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
import type { Terminal } from './terminal.ts';

const indent = '        ';

export function addAgentOptions(command: Command): void {
  // Names and texts are too long for two columns: the text goes below the name.
  command.configureHelp({
    // Commander would add the preset of switches.
    optionDescription: ({ description }) => description,
    formatItem: (term, _width, text, helper) =>
      `  ${term}\n${indent}${helper.boxWrap(text, (helper.helpWidth ?? 80) - indent.length).replaceAll('\n', `\n${indent}`)}`,
  });
  command.option(
    '--config <FILE>',
    'YAML configuration file: options in camelCase, such as nodeName, or a KubeProxyConfiguration; flags and environment take precedence. (SLUICE_CONFIG)',
  );
  for (const { flag, kind, metavar, description, env, fallback } of options) {
    const text = `${description} (${env}; default: ${fallback})`;
    const option = flagOption(flag, metavar, kind === 'switch', text);
    command.addOption(kind === 'list' ? option.argParser(appendToList) : option);
  }
  for (const { flag, form } of proxyFlags) {
    const name = flag === 'v' ? '-v, --v' : `--${flag}`;
    command.addOption(flagOption(name, 'VALUE', form.isSwitch === true, '').hideHelp());
  }
  addOneShotOptions(command);
}

/** A list may be given by several flags, as kube-proxy accepts it. */
function appendToList(value: string, before: string | undefined): string {
  return before === undefined || before === '' ? value : `${before},${value}`;
}

/** A switch without a value means true. */
function flagOption(flag: string, metavar: string, isSwitch: boolean, description: string): Option {
  return isSwitch
    ? new Option(`${flag} [${metavar}]`, description).preset('true')
    : new Option(`${flag} <${metavar}>`, description);
}

/** Flags of kube-proxy that do one task and exit. */
function addOneShotOptions(command: Command): void {
  command
    .option(
      '--cleanup [true|false]',
      'Remove everything of Sluice and of kube-proxy from this node, and exit.',
    )
    .option('--init-only [true|false]', 'Set the sysctls that need root, and exit.')
    .option('--write-config-to <FILE>', 'Write the effective configuration to a file, and exit.')
    .option('--version', 'Print the version, and exit.')
    .addHelpText('after', '\nFlags of kube-proxy are accepted too: docs/config.md has the effect of each.');
}

function isOn(flag: string | boolean | undefined): boolean {
  return flag === true || /^(?:true|t|1)$/i.test(String(flag));
}

type Flags = Readonly<Record<string, string | boolean | undefined>>;

export async function runAgent(commands: Commands, flags: Flags, terminal: Terminal): Promise<number> {
  if (flags['version'] === true) {
    terminal.write(`${version}\n`);
    return exitCodes.ok;
  }
  const notes: string[] = [];
  const deprecated: string[] = [];
  const sources = sourcesOf(flags);
  const config = loadConfig({
    ...sources,
    note: (text) => notes.push(text),
    deprecated: (text) => deprecated.push(text),
  });
  const writeTo = flags['writeConfigTo'];
  if (typeof writeTo === 'string') writeConfig(writeTo, formatConfig(config, hostname()));
  else if (isOn(flags['cleanup'])) {
    return cleanNode(
      commands,
      { bpffs: config.bpffs, kubeProxy: true, force: false, output: 'table' },
      terminal,
    );
  } else if (isOn(flags['initOnly'])) await commands.prepare(config);
  else {
    const path = configPath(sources);
    const file = path === undefined ? undefined : originOf(path, sources);
    // exec() keeps the process: a supervisor might count an exit as a crash, or not start it again after exit code 0.
    if ((await commands.agent(config, { notes, deprecated, file })) === 'restart') await commands.restart();
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
