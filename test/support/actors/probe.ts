// Questions to echo servers, many at once: who answers, which client address that server saw, or which error came
// instead.
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect } from 'node:net';
import { addressOf, within, type Greeting, type Target } from './tcp.ts';

export interface Question extends Target {
  readonly protocol: 'TCP' | 'UDP';
  /** Asked until all of these have answered, `most` times at most, and `least` times in any case. */
  readonly servers: readonly string[];
  readonly least: number;
  readonly most: number;
  /** How long silence is listened to. */
  readonly ms: number;
  readonly localPort?: number;
}

/** How often each outcome was seen: "server client-address", or the code of an error. */
export type Answers = Record<string, number>;

export interface ProbeOptions {
  readonly questions: readonly Question[];
  /** Without it the kernel chooses. */
  readonly firstUdpPort?: number;
}

let udpPort = 0;
const nextUdpPort = (): number => (udpPort === 0 ? 0 : udpPort++);
const inFlight = 48;
/** More of them would only take longer. */
const enoughErrors = 2;

async function greetTcp({ host, port, ms, localPort }: Question): Promise<Greeting> {
  const socket = connect({ host, port, noDelay: true, ...(localPort === undefined ? {} : { localPort }) });
  const greeting = once(socket, 'data') as Promise<[Buffer]>; // rejects on 'error'
  greeting.catch(() => undefined);
  try {
    const [line] = await within(`connect to ${host}`, greeting, ms);
    return JSON.parse(line.toString('latin1')) as Greeting;
  } finally {
    socket.on('error', () => undefined);
    socket.end();
    if (socket.connecting) socket.destroy();
  }
}

async function greetUdp({ host, port, ms, localPort = nextUdpPort() }: Question): Promise<Greeting> {
  const socket = createSocket({ type: host.includes(':') ? 'udp6' : 'udp4', reuseAddr: true });
  try {
    socket.bind(localPort);
    await once(socket, 'listening');
    socket.connect(port, host);
    await once(socket, 'connect');
    const reply = once(socket, 'message') as Promise<[Buffer]>;
    reply.catch(() => undefined);
    socket.on('error', () => undefined); // a second ICMP error
    socket.send('who are you?');
    const [text] = await within(`a datagram from ${host}`, reply, ms);
    return JSON.parse(text.toString('latin1')) as Greeting;
  } finally {
    socket.close();
  }
}

async function askOne(question: Question): Promise<Answers> {
  const answers: Answers = {};
  const missing = new Set(question.servers);
  const greet = question.protocol === 'TCP' ? greetTcp : greetUdp;
  let errors = 0;
  for (let n = 0; n < question.least || (missing.size > 0 && n < question.most); n++) {
    if (errors >= enoughErrors) break;
    let outcome: string;
    try {
      const { server, client } = await greet(question);
      missing.delete(server);
      outcome = `${server} ${addressOf(client)}`;
    } catch (error) {
      outcome = (error as NodeJS.ErrnoException).code ?? String(error);
      errors++;
    }
    answers[outcome] = (answers[outcome] ?? 0) + 1;
  }
  return answers;
}

/**
 * Asks all questions, some dozens at the same time; answers in their order. UDP is asked from ports that are used
 * once: a flow does not end with its socket, and a node that takes over its client's port must not find it in use
 * from an earlier question.
 */
async function probe({ questions, firstUdpPort = 0 }: ProbeOptions): Promise<Answers[]> {
  udpPort ||= firstUdpPort;
  const answers: Answers[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let i = next++; i < questions.length; i = next++) {
      const question = questions[i];
      if (question !== undefined) answers[i] = await askOne(question);
    }
  };
  await Promise.all(Array.from({ length: inFlight }, worker));
  return answers;
}

export const probeVerbs = { probe };
