// Facts → JSON lines on stderr. Every line has a code, and the service's name where there is one.
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
    text: 'the file of options has changed for the worse; what was in force stays',
  },
  'config.ignored': { level: 'info', text: 'an option of kube-proxy that means nothing here' },
  'agent.starting': { level: 'info', text: 'starting' },
  'agent.waiting': { level: 'info', text: 'waiting for another agent of this node to end' },
  'agent.ready': { level: 'info', text: 'ready: everything listed at start is in the kernel' },
  'agent.stopping': { level: 'info', text: 'stopping; programs and maps stay and go on forwarding' },
  'agent.fault': { level: 'error', text: 'a fault of the agent itself' },
  'datapath.loaded': { level: 'info', text: 'programs loaded' },
  'datapath.replaced': {
    level: 'info',
    text: 'pinned maps have another size or layout: their rows move to new ones',
  },
  'datapath.oversized': {
    level: 'warn',
    text: 'a pinned map stays larger than asked for: more of it is in use',
  },
  'datapath.lost': { level: 'error', text: 'rows of a pinned map could not be taken over' },
  'datapath.fallback': { level: 'warn', text: 'going on without a feature' },
  'device.attached': { level: 'info', text: 'attached' },
  'device.behind': {
    level: 'warn',
    text: 'programs of others run before ours and may hide packets from them',
  },
  'device.detached': { level: 'info', text: 'device gone' },
  'device.failed': { level: 'error', text: 'could not attach' },
  'sockets.attached': { level: 'info', text: 'sockets of this node are pointed at backends as they connect' },
  'sockets.ended': { level: 'info', text: 'sockets are no longer pointed at backends' },
  'sockets.failed': { level: 'warn', text: 'going on without socket hooks' },
  'sockets.destroyed': {
    level: 'info',
    text: 'UDP sockets of removed backends were ended, for their programs to dial again',
  },
  'sockets.stranded': { level: 'warn', text: 'UDP sockets of removed backends could not be ended' },
  'exempt.changed': { level: 'debug', text: 'other processes are left alone by the socket hooks' },
  'exempt.failed': { level: 'warn', text: 'not left alone by the socket hooks' },
  'host.changed': { level: 'info', text: 'addresses of this node changed' },
  'host.devices': { level: 'debug', text: 'network devices of this node changed' },
  'host.unexpected': { level: 'warn', text: 'this node is not as the options say' },
  'api.answered': { level: 'debug', text: 'the API server has answered' },
  'source.synced': { level: 'info', text: 'everything that exists is known' },
  'source.problem': { level: 'warn', text: 'an object, or a part of it, is not used; the rest is in force' },
  'source.failing': { level: 'warn', text: 'asking fails; what is known stays in force; trying again' },
  'source.recovered': { level: 'info', text: 'a problem has gone' },
  'source.changed': { level: 'debug', text: 'objects changed' },
  'service.changed': { level: 'debug', text: 'service computed anew' },
  'service.removed': { level: 'debug', text: 'nothing to forward for this service' },
  'services.queued': { level: 'debug', text: 'services wait to be written' },
  'services.written': { level: 'debug', text: 'all that waited is in the kernel' },
  'endpoints.programmed': { level: 'debug', text: 'packets meet a change of endpoints' },
  'sync.done': { level: 'debug', text: 'tables written' },
  'sync.failed': { level: 'error', text: 'tables not written; trying again' },
  'service.unserved': { level: 'error', text: 'a service is not in the kernel as it should be' },
  'service.served': { level: 'info', text: 'the service is in the kernel now' },
  'tables.growing': { level: 'info', text: 'tables grow: programs are loaded over larger maps' },
  'tables.grown': { level: 'info', text: 'tables have grown' },
  'tables.refused': {
    level: 'error',
    text: 'tables could not grow: what does not fit is not programmed until they can',
  },
  'map.filling': { level: 'warn', text: 'a table is nearly full' },
  'server.listening': { level: 'info', text: 'listening' },
  'server.failed': { level: 'warn', text: 'cannot listen; trying again' },
  'event.failed': { level: 'warn', text: 'an event could not be written for administrators' },
  'probe.answered': { level: 'debug', text: 'asked for health' },
  'server.closed': { level: 'info', text: 'no longer listening: the service needs no health check' },
};

/** Starts logging; the answer ends it. */
export function startLogging(level: Level | 'silent', node: string, to?: DestinationStream): () => void {
  const options = {
    level,
    base: { node },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
  };
  // Written at once: the last lines before an exit are the ones that matter, and there are few.
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

/** An error becomes its message; its stack only where it is a fault of ours rather than of the surroundings. */
function plain(fact: object): object {
  if (!('error' in fact)) return fact;
  const { error } = fact;
  const stack = error instanceof Error && !(error instanceof SluiceError) ? { stack: error.stack } : {};
  return { ...fact, error: messageOf(error), ...stack };
}
