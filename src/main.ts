// The command `sluice`: implements what the command line needs of the agent and the kernel, each part loaded on demand.
import { runProgram } from './cli/program.ts';
import type { Commands } from './cli/commands.ts';
import { messageOf, SluiceError } from './errors.ts';

const commands: Commands = {
  restart: async () => {
    const { native } = await import('../native/index.ts');
    const { execPath, execArgv, argv } = process;
    try {
      native().exec(execPath, [execPath, ...execArgv, ...argv.slice(1)]);
    } catch (cause) {
      throw new SluiceError('SLB_E_RESTART', messageOf(cause), { cause });
    }
  },
  agent: async (config, more) => {
    const { runAgent } = await import('./agent/agent.ts');
    return runAgent(config, more);
  },
  prepare: async (config) => {
    const { probeFeatures, requireFeatures } = await import('./kernel/features.ts');
    const { prepareLoopback } = await import('./kernel/sysctls.ts');
    requireFeatures(await probeFeatures(config));
    // Each failure says the same: the first is enough.
    const [failure] = prepareLoopback(config.bpffs);
    if (failure !== undefined) throw failure;
  },
  check: async (options) => {
    const { probeFeatures } = await import('./kernel/features.ts');
    return (await probeFeatures(options)).list;
  },
  clean: async ({ bpffs, kubeProxy, force }) => {
    const { requireRights } = await import('./kernel/features.ts');
    const { cleanDatapath } = await import('./hooks/clean.ts');
    const { cleanKubeProxy } = await import('./kernel/kubeproxy/leftovers.ts');
    const { lockNow } = await import('./kernel/lock.ts');
    requireRights();
    // A running agent would attach again what is removed: SLB_E_LOCKED names it.
    const lock = force ? undefined : lockNow(bpffs);
    const { removed, restored } = cleanDatapath(bpffs);
    lock?.release();
    return { removed: kubeProxy ? [...removed, ...cleanKubeProxy()] : removed, restored };
  },
};

// A reader that stops early, as in `sluice flows | head`, is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit();
});

process.exitCode = await runProgram(process.argv.slice(2), commands, {
  write: (text) => process.stdout.write(text),
  writeError: (text) => process.stderr.write(text),
  now: () => new Date(),
});
