// The command `sluice`: hands the rooms to the command line, each loaded when it is called.
import { runProgram } from './cli/program.ts';
import type { Rooms } from './cli/rooms.ts';
import { messageOf, SluiceError } from './errors.ts';

const rooms: Rooms = {
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
    const { runAgent } = await import('./agent.ts');
    return runAgent(config, more);
  },
  prepare: async (config) => {
    const { probeFeatures, requireFeatures } = await import('./hooks/features.ts');
    const { prepareLoopback } = await import('./hooks/sysctls.ts');
    requireFeatures(await probeFeatures(config));
    const [failure] = prepareLoopback(config.bpffs);
    if (failure !== undefined) throw failure;
  },
  check: async (options) => {
    const { probeFeatures } = await import('./hooks/features.ts');
    return (await probeFeatures(options)).list;
  },
  clean: async ({ bpffs, kubeProxy, force }) => {
    const { requireRights } = await import('./hooks/features.ts');
    const { cleanDatapath } = await import('./hooks/clean.ts');
    const { cleanKubeProxy } = await import('./hooks/leftovers.ts');
    const { lockNow } = await import('./hooks/lock.ts');
    requireRights();
    const lock = force ? undefined : lockNow(bpffs);
    const removed = cleanDatapath(bpffs);
    lock?.release();
    return kubeProxy ? [...removed, ...cleanKubeProxy()] : removed;
  },
};

// `sluice flows | head` reads as much as it wants: what it does not want is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit();
});

process.exitCode = await runProgram(process.argv.slice(2), rooms, {
  write: (text) => process.stdout.write(text),
  writeError: (text) => process.stderr.write(text),
  now: () => new Date(),
});
