// Kubernetes Events, as `kubectl describe` shows them (S-109). Each is written once; a failure is logged and not
// retried.
import { publish } from '../../observe/channels.ts';
import type { ObjectEvent } from '../objects.ts';
import type { ApiClient } from './client.ts';
import type { Clock } from './clock.ts';
import { explain } from './error.ts';

/** Token bucket: at most `burst` events at once, and one more every `refillMs`. */
const burst = 25;
const refillMs = 10_000;

const maxNote = 1_024; // bytes; the server refuses more
const maxInstance = 128;
const maxName = 200; // of the object's name; the event's name has 253 at most, with the time appended

export interface EventOptions {
  readonly client: ApiClient;
  readonly clock: Clock;
  readonly nodeName: string;
  readonly signal: AbortSignal;
}

export class EventWriter {
  readonly #options: EventOptions;
  #tokens = burst;
  #refilledAt: number;
  #serial = 0;
  /** One request at a time, so that a burst does not open many connections. */
  #written: Promise<void> = Promise.resolve();

  constructor(options: EventOptions) {
    this.#options = options;
    this.#refilledAt = options.clock.now();
  }

  write(event: ObjectEvent): void {
    if (!this.#take()) return;
    const { client, signal, nodeName } = this.#options;
    const namespace = event.regarding.namespace === '' ? 'default' : event.regarding.namespace;
    const path = `/apis/events.k8s.io/v1/namespaces/${namespace}/events`;
    const body = bodyOf(event, { namespace, nodeName, at: new Date(), serial: this.#serial++ });
    const post = async (): Promise<void> => {
      if (!signal.aborted) await client.post(path, body, signal);
    };
    this.#written = this.#written.then(post).catch((error: unknown) => {
      if (!signal.aborted) publish('event.failed', { reason: event.reason, detail: explain(error) });
    });
  }

  #take(): boolean {
    const gained = Math.floor((this.#options.clock.now() - this.#refilledAt) / refillMs);
    this.#refilledAt += gained * refillMs;
    this.#tokens = Math.min(burst, this.#tokens + gained);
    if (this.#tokens === 0) return false;
    this.#tokens--;
    return true;
  }
}

interface Occasion {
  readonly namespace: string;
  readonly nodeName: string;
  readonly at: Date;
  readonly serial: number;
}

function bodyOf(event: ObjectEvent, { namespace, nodeName, at, serial }: Occasion): object {
  const { type, reason, action, note, regarding } = event;
  const unique = `${at.getTime().toString(16)}${serial.toString(16).padStart(4, '0')}`;
  return {
    apiVersion: 'events.k8s.io/v1',
    kind: 'Event',
    metadata: { name: `${regarding.name.slice(0, maxName)}.${unique}`, namespace },
    eventTime: at.toISOString().replace('Z', '000Z'), // a MicroTime has exactly six digits
    reportingController: 'sluice',
    reportingInstance: `sluice-${nodeName}`.slice(0, maxInstance),
    type,
    reason,
    action,
    note: cut(note),
    regarding: { apiVersion: 'v1', ...regarding },
  };
}

function cut(note: string): string {
  const bytes = Buffer.from(note);
  return bytes.length <= maxNote
    ? note
    : bytes
        .subarray(0, maxNote - 3)
        .toString('utf8')
        .replace(/\uFFFD$/, '');
}
