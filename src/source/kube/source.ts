// The source that watches the Kubernetes API server.
import { messageOf } from '../../errors.ts';
import type { ObjectEvent, Source, SourceProblem, SourceSink } from '../objects.ts';
import { InitialSync } from './initialsync.ts';
import { ApiClient, type Connection } from './client.ts';
import { systemClock, type Clock } from './clock.ts';
import { Credentials } from './credentials.ts';
import { EventWriter } from './events.ts';
import { Reflector } from './reflector.ts';
import type { PingTimes } from './session.ts';
import { podResources, resources, type Resource } from './resource.ts';

export interface KubeOptions {
  /** Undefined: in a pod, by its service account. */
  readonly kubeconfig: string | undefined;
  readonly nodeName: string;
  /** Watch the Pods of this node and Namespaces too. */
  readonly pods?: boolean;
  readonly clock?: Clock;
  readonly watchSeconds?: Connection['watchSeconds'];
  /** Interval and timeout of the PINGs to the server. */
  readonly pings?: PingTimes;
}

const defaultWatchSeconds = { min: 300, max: 600 };

/** Reported at most, so that many invalid objects do not flood the log. */
const maxProblems = 100;

export class KubeSource implements Source {
  readonly #kubeconfig: string | undefined;
  readonly #nodeName: string;
  readonly #pods: boolean;
  readonly #clock: Clock;
  readonly #watchSeconds: Connection['watchSeconds'];
  readonly #problems = new Map<string, readonly SourceProblem[]>();
  readonly #stopping = new AbortController();
  readonly #credentials: Credentials;
  readonly #client: ApiClient;
  readonly #events: EventWriter;
  #server = '';
  #running: Promise<unknown> = Promise.resolve();

  constructor(options: KubeOptions) {
    this.#kubeconfig = options.kubeconfig;
    this.#nodeName = options.nodeName;
    this.#pods = options.pods ?? false;
    this.#clock = options.clock ?? systemClock;
    this.#watchSeconds = options.watchSeconds ?? defaultWatchSeconds;
    const [clock, { signal }] = [this.#clock, this.#stopping];
    this.#credentials = new Credentials(this.#kubeconfig, clock);
    this.#client = new ApiClient(this.#credentials, clock, options.pings);
    this.#events = new EventWriter({ client: this.#client, clock, nodeName: this.#nodeName, signal });
  }

  get description(): string {
    return `kube ${this.#server === '' ? (this.#kubeconfig ?? 'in-cluster') : this.#server}`;
  }

  /** Rejects when the address or the credentials of the API server are not known. */
  async check(): Promise<void> {
    await this.#credentials.access();
  }

  /**
   * Rejects as check() does. Resolves when watching has begun, not when all objects are known: a server that does not
   * answer is waited for.
   */
  async start(sink: SourceSink): Promise<void> {
    this.#server = (await this.#credentials.access()).server.origin;
    const all = [...resources(this.#nodeName), ...(this.#pods ? podResources(this.#nodeName) : [])];
    const initialSync = new InitialSync(all, this.#clock, () => this.#guard(sink, () => sink.synced()));
    this.#stopping.signal.addEventListener('abort', () => initialSync.stop());
    this.#running = Promise.all(all.map((resource) => this.#reflect(sink, resource, initialSync)));
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
    this.#client.close();
  }

  record(event: ObjectEvent): void {
    this.#events.write(event);
  }

  async #reflect(sink: SourceSink, resource: Resource, initialSync: InitialSync): Promise<void> {
    const connection = { client: this.#client, clock: this.#clock, watchSeconds: this.#watchSeconds };
    const reflector = new Reflector(connection, resource, {
      changes: (batch) => this.#guard(sink, () => sink.changes(batch)),
      listed: () => initialSync.listed(resource),
      refused: () => initialSync.refused(resource),
      state: (failure, problems) => {
        const where = this.#server + resource.path;
        const failing = failure === undefined ? [] : [{ where, field: '', message: failure, failing: true }];
        this.#report(sink, resource.kind, [...failing, ...problems]);
      },
    });
    await reflector.run(this.#stopping.signal);
  }

  /** An error of the sink is reported as a problem; watching goes on. */
  #guard(sink: SourceSink, call: () => void): void {
    try {
      call();
    } catch (error) {
      this.#report(sink, 'listener', [{ where: 'agent', field: '', message: messageOf(error) }]);
    }
  }

  #report(sink: SourceSink, who: string, problems: readonly SourceProblem[]): void {
    this.#problems.set(who, problems);
    try {
      sink.problems([...this.#problems.values()].flat().slice(0, maxProblems));
    } catch {
      // The process is ending.
    }
  }
}
