// Runs inside a namespace of the lab as a child process and does what it is told over IPC: servers and clients with
// real sockets. It imports nothing but Node's own modules, so that it starts in a blink.
import { tcpVerbs } from './tcp.ts';
import { udpVerbs } from './udp.ts';
import { httpVerbs } from './http.ts';
import { probeVerbs } from './probe.ts';
import { relayVerbs } from './relay.ts';
import { senderVerbs } from './senders.ts';
import { slowVerbs } from './slow.ts';

const verbs = {
  ...tcpVerbs,
  ...udpVerbs,
  ...httpVerbs,
  ...probeVerbs,
  ...relayVerbs,
  ...senderVerbs,
  ...slowVerbs,
};
export type Verbs = typeof verbs;
export type Verb = keyof Verbs;

export interface Call {
  readonly id: number;
  readonly verb: Verb;
  readonly args: unknown;
}

export type Answer =
  | { readonly id: number; readonly result: unknown }
  | { readonly id: number; readonly error: string; readonly code: string };

async function answer(call: Call): Promise<Answer> {
  try {
    const verb = verbs[call.verb] as (args: unknown) => unknown;
    return { id: call.id, result: await verb(call.args) };
  } catch (error) {
    const { code = '', message } = error as NodeJS.ErrnoException;
    return { id: call.id, error: message, code };
  }
}

process.on('message', (call: Call) => {
  void answer(call).then((reply) => process.send?.(reply));
});
// The lab has gone, however it went: nothing must be left behind.
process.on('disconnect', () => process.exit(0));
