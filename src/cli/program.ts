// The commands and their options. Each command is loaded on demand, so that the short ones start quickly.
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { version } from '../version.ts';
import { defaultApiHost, defaultApiPort, defaultBpffs, defaultCgroup } from '../config/defaults.ts';
import { joinHostPort } from '../net/hostport.ts';
import { printablePage } from '../units.ts';
import { describeError, exitCodeOf, exitCodes, exitHelp } from './exit.ts';
import type { OutputFormat } from './output.ts';
import type { Commands } from './commands.ts';
import type { Terminal } from './terminal.ts';

export interface Streams extends Terminal {
  readonly writeError: (text: string) => void;
}

type Finish = (exitCode: number) => void;

/**
 * Runs one command line and returns its exit code. What it prints has no control characters: they could control the
 * terminal.
 */
export async function runProgram(args: readonly string[], commands: Commands, raw: Streams): Promise<number> {
  const streams: Streams = {
    write: (text) => raw.write(printablePage(text)),
    writeError: (text) => raw.writeError(printablePage(text)),
    now: raw.now,
  };
  let exitCode: number = exitCodes.ok;
  try {
    const program = await buildProgram(args, commands, streams, (code) => {
      exitCode = code;
    });
    await program.parseAsync(args.includes('agent') ? withDashes(args) : args, { from: 'user' });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.ok : exitCodes.usage;
    const command = args.find((arg) => !arg.startsWith('-'));
    streams.writeError(describeError(error, debugging(args), command));
    return exitCodeOf(error);
  }
}

/** After wrong usage; `command` is "sluice" or "sluice NAME". */
function hint(command: string): string {
  return `(${command} --help lists what is allowed)`;
}

/** As kube-proxy, which accepts --node_name for --node-name. */
function withDashes(args: readonly string[]): string[] {
  return args.map((arg) => arg.replace(/^--[^=]+/, (flag) => flag.replaceAll('_', '-')));
}

function debugging(args: readonly string[]): boolean {
  return process.env['SLUICE_LOG_LEVEL'] === 'debug' || /--log-level[= ]debug/.test(args.join(' '));
}

async function buildProgram(
  args: readonly string[],
  commands: Commands,
  streams: Streams,
  finish: Finish,
): Promise<Command> {
  const program = new Command('sluice')
    .description('Kubernetes service proxy: an eBPF data path and its agent.')
    .version(version, '--version', 'Print the version.')
    .helpOption('-h, --help', 'Print this help.')
    .helpCommand('help [COMMAND]', 'Print the help of a command.')
    .addHelpText('after', exitHelp)
    .showHelpAfterError(hint('sluice'))
    .configureOutput({
      writeOut: streams.write,
      writeErr: streams.writeError,
      outputError: (text, write) => write(text.replace(/^error: /, 'sluice: SLB_E_USAGE: ')),
    })
    .exitOverride();
  if (args.includes('agent')) await addAgent(program, commands, streams, finish);
  else program.command('agent').description(agentText);
  addReaders(program, streams, finish);
  addNodeCommands(program, commands, streams, finish);
  for (const command of program.commands) command.showHelpAfterError(hint(`sluice ${command.name()}`));
  return program;
}

const agentText = 'Forward Services on this node.';

/** The options come from the schema, which only this command loads. */
async function addAgent(
  program: Command,
  commands: Commands,
  streams: Streams,
  finish: Finish,
): Promise<void> {
  const command = program.command('agent').description(agentText);
  const { addAgentOptions, runAgent } = await import('./agent.ts');
  addAgentOptions(command);
  command.action(async (flags: Record<string, string | undefined>) => {
    finish(await runAgent(commands, flags, streams));
  });
}

function addReaders(program: Command, streams: Streams, finish: Finish): void {
  reader(program, 'status', 'Show the state of this node: agent, source, devices, maps, verdicts.').action(
    async (options: Reading) => {
      const { showStatus } = await import('./status.ts');
      finish(await showStatus(options, streams));
    },
  );
  reader(program, 'services', 'List the Services that this node forwards, or show one with its backends.')
    .argument('[NAMESPACE/NAME]')
    .action(async (name: string | undefined, options: Reading) => {
      const { listServices, showService } = await import('./services.ts');
      finish(
        await (name === undefined ? listServices(options, streams) : showService(name, options, streams)),
      );
    });
  reader(program, 'flows', 'List the connections in the flow tables.')
    .option('--service <NAMESPACE/NAME>', 'Only flows of this Service.')
    .option('--client <ADDRESS>', 'Only flows of this client.')
    .option('--limit <N>', 'Print at most so many.', wholeNumber, 100)
    .action(async (options: Reading & { limit: number; service?: string; client?: string }) => {
      const { listFlows } = await import('./flows.ts');
      finish(await listFlows(options, streams));
    });
}

interface NodeOptions {
  readonly bpffs: string;
  readonly cgroup: string;
  readonly output: OutputFormat;
}

function addNodeCommands(program: Command, commands: Commands, streams: Streams, finish: Finish): void {
  onNode(program, 'check', 'Check whether an agent can run on this node.').action(
    async (options: NodeOptions) => {
      const { checkNode } = await import('./check.ts');
      finish(await checkNode(commands, options, streams));
    },
  );
  onNode(program, 'clean', 'Remove all programs, maps and links of Sluice from this node.')
    .option('--kube-proxy', 'Also remove the rules of kube-proxy.', false)
    .option('--force', 'Even while an agent is running.', false)
    .action(async (options: NodeOptions & { kubeProxy: boolean; force: boolean }) => {
      const { cleanNode } = await import('./clean.ts');
      finish(await cleanNode(commands, options, streams));
    });
}

function onNode(program: Command, name: string, description: string): Command {
  const bpffs = new Option('--bpffs <DIR>', 'Directory of the pinned programs and maps.');
  const cgroup = new Option('--cgroup <PATH|auto>', 'cgroup v2 directory of this node.');
  return program
    .command(name)
    .description(description)
    .addOption(bpffs.env('SLUICE_BPFFS').default(defaultBpffs))
    .addOption(
      cgroup
        .env('SLUICE_CGROUP')
        .default(defaultCgroup)
        .hideHelp(name === 'clean'),
    )
    .addOption(outputOption());
}

interface Reading {
  readonly api: string;
  readonly output: OutputFormat;
}

function reader(program: Command, name: string, description: string): Command {
  return program
    .command(name)
    .description(description)
    .addOption(
      new Option('--api <ADDRESS>', 'Address of the agent: HOST:PORT, [ADDRESS]:PORT or http://HOST:PORT.')
        .env('SLUICE_API_ADDRESS')
        .default(joinHostPort(defaultApiHost, defaultApiPort)),
    )
    .addOption(outputOption());
}

function outputOption(): Option {
  return new Option('-o, --output <FORMAT>', 'Output format.').choices(['table', 'json']).default('table');
}

function wholeNumber(text: string): number {
  if (!/^[1-9]\d{0,6}$/.test(text)) throw new InvalidArgumentError('Use a whole number from 1 to 9999999.');
  return Number(text);
}
