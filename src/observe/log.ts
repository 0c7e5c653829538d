// Writes facts as JSON lines on stderr. Each line has a code, and the Service's namespace/name where it concerns one.
import pino, { type DestinationStream, type Logger } from 'pino';
import { SluiceError, messageOf } from '../errors.ts';
import { printablePage } from '../units.ts';
import { listen, type FactName, type Level } from './channels.ts';

interface Line {
  readonly level: Level;
  readonly text: string;
}

const lines: Readonly<Record<FactName, Line>> = {
  'config.refused': {
    level: 'error',
    text: 'configuration file invalid, keeping the previous configuration',
  },
  'config.ignored': { level: 'info', text: 'option of kube-proxy has no effect here' },
  'config.deprecated': { level: 'warn', text: 'deprecated option value still works in this version' },
  'agent.starting': { level: 'info', text: 'agent starting' },
  'agent.waiting': { level: 'info', text: 'waiting for another agent on this node to stop' },
  'agent.ready': { level: 'info', text: 'ready: all Services listed at start are in the kernel' },
  'agent.stopping': { level: 'info', text: 'stopping; programs and maps stay and keep forwarding' },
  'agent.fault': { level: 'error', text: 'unexpected error in the agent' },
  'datapath.loaded': { level: 'info', text: 'BPF programs loaded' },
  'datapath.replaced': {
    level: 'info',
    text: 'pinned maps have another size or layout, moving their rows to new maps',
  },
  'datapath.oversized': {
    level: 'warn',
    text: 'pinned map stays larger than configured, because more of it is in use',
  },
  'datapath.lost': { level: 'error', text: 'could not take over rows of a pinned map' },
  'datapath.fallback': { level: 'warn', text: 'kernel feature missing, using a fallback' },
  'device.attached': { level: 'info', text: 'attached' },
  'device.behind': {
    level: 'warn',
    text: 'other programs run before those of Sluice at this device and may hide packets from them',
  },
  'device.detached': { level: 'info', text: 'device removed' },
  'device.failed': { level: 'error', text: 'could not attach to device' },
  'sockets.attached': {
    level: 'info',
    text: 'socket hooks attached: sockets are connected to backends directly',
  },
  'sockets.ended': { level: 'info', text: 'socket hooks detached' },
  'sockets.failed': { level: 'warn', text: 'could not attach socket hooks, translating packets instead' },
  'sockets.destroyed': {
    level: 'info',
    text: 'ended UDP sockets that were connected to removed backends',
  },
  'sockets.stranded': {
    level: 'warn',
    text: 'could not end UDP sockets that are connected to removed backends',
  },
  'exempt.changed': { level: 'debug', text: 'cgroups that socket hooks leave alone changed' },
  'exempt.failed': { level: 'warn', text: 'socket hooks do not leave alone what they should' },
  'host.changed': { level: 'info', text: 'addresses of this node changed' },
  'host.devices': { level: 'debug', text: 'network devices of this node changed' },
  'host.unexpected': { level: 'warn', text: 'this node differs from its configuration' },
  'api.answered': { level: 'debug', text: 'request to the API server answered' },
  'source.synced': { level: 'info', text: 'all objects listed' },
  'source.problem': { level: 'warn', text: 'object not used, or not all of it' },
  'source.failing': { level: 'warn', text: 'request failed, keeping the known objects and retrying' },
  'source.recovered': { level: 'info', text: 'problem solved' },
  'source.changed': { level: 'debug', text: 'objects changed' },
  'service.changed': { level: 'debug', text: 'Service recomputed' },
  'service.removed': { level: 'debug', text: 'nothing to forward for this Service' },
  'services.queued': { level: 'debug', text: 'Services queued' },
  'services.written': { level: 'debug', text: 'all queued Services are in the kernel' },
  'endpoints.programmed': { level: 'debug', text: 'change of endpoints programmed' },
  'sync.done': { level: 'debug', text: 'tables written' },
  'sync.failed': { level: 'error', text: 'could not write tables, retrying' },
  'service.unserved': { level: 'error', text: 'Service not programmed' },
  'service.served': { level: 'info', text: 'Service programmed' },
  'tables.growing': { level: 'info', text: 'enlarging maps, loading the programs again' },
  'tables.grown': { level: 'info', text: 'maps enlarged' },
  'tables.refused': {
    level: 'error',
    text: 'could not enlarge maps: Services that do not fit are not programmed',
  },
  'map.filling': { level: 'warn', text: 'map nearly full' },
  'server.listening': { level: 'info', text: 'listening' },
  'server.failed': { level: 'warn', text: 'could not listen, retrying' },
  'event.failed': { level: 'warn', text: 'could not write a Kubernetes event' },
  'probe.answered': { level: 'debug', text: 'health probe answered' },
  'server.closed': { level: 'info', text: 'stopped listening: the Service has no health check any more' },
};

/** Logs all facts of this level and above, to stderr unless `to` is given. Returns the function that ends it. */
export function startLogging(level: Level | 'silent', node: string, to?: DestinationStream): () => void {
  const options = {
    level,
    base: { node },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
  };
  // Synchronous: the lines before an exit matter most, and there are few lines.
  const target = to ?? pino.destination({ fd: 2, sync: true });
  const logger = pino(options, { write: (line) => target.write(printablePage(line)) });
  const stops = (Object.keys(lines) as FactName[]).map((name) => logFact(logger, name));
  return () => {
    for (const stop of stops) stop();
  };
}

function logFact(logger: Logger, name: FactName): () => void {
  const { level, text } = lines[name];
  return listen(name, (fact) => {
    if (!logger.isLevelEnabled(level)) return;
    logger[level]({ code: codeOf(fact) ?? name, ...plain(fact) }, text);
  });
}

function codeOf(fact: object): string | undefined {
  return 'error' in fact && fact.error instanceof SluiceError ? fact.error.code : undefined;
}

/** An error becomes its message. A SluiceError is about the environment; any other is a bug, so its stack is logged. */
function plain(fact: object): object {
  if (!('error' in fact)) return fact;
  const { error } = fact;
  const stack = error instanceof Error && !(error instanceof SluiceError) ? { stack: error.stack } : {};
  return { ...fact, error: messageOf(error), ...stack };
}
