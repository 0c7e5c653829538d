// Destroys UDP sockets that are connected to a removed backend (S-90), by SOCK_DESTROY of sock_diag(7): their programs
// get an error and connect again. The check after a change is urgent; all others are not.
import { native, type Native, type NativeError } from '../../native/index.ts';
import { messageOf, SluiceError } from '../errors.ts';
import { publish } from '../observe/channels.ts';
import { findNamespaces, listNamespaces } from './netns.ts';

const udp = 17;
/** For sockets that a check has missed, and for namespaces that could not be entered. */
const resyncMs = 30_000;

/** A UDP socket that is connected to a removed backend. */
export interface StaleSocket {
  readonly cookie: bigint;
  readonly netns: bigint; // cookie
  readonly backend: number; // id
  /** Of the backend address. An IPv6 socket may be connected to an IPv4 address too. */
  readonly family: 4 | 6;
}

/** The kernel functions that are used; tests replace them. */
export interface ReaperKernel extends Pick<Native, 'netnsCookie' | 'destroySockets'> {
  readonly findNamespaces: (wanted: ReadonlySet<bigint>) => Promise<ReadonlyMap<bigint, string>>;
  readonly listNamespaces: () => Promise<readonly string[]>;
}

const thisKernel: ReaperKernel = {
  netnsCookie: () => native().netnsCookie(),
  destroySockets: (options) => native().destroySockets(options),
  findNamespaces,
  listNamespaces,
};

export interface ReaperOptions {
  readonly find: (stopped: () => boolean) => Promise<readonly StaleSocket[]>;
  /** Whether the socket is still stale. */
  readonly includes: (socket: StaleSocket) => boolean;
  readonly kernel?: ReaperKernel;
}

/** A network namespace, and the sockets to destroy in it. */
interface Place {
  readonly path: string | undefined; // undefined: the namespace of the agent
  readonly netns: bigint; // cookie; 0n: the kernel has none
  readonly sockets: readonly StaleSocket[];
}

export class SocketReaper {
  readonly #options: ReaperOptions;
  readonly #kernel: ReaperKernel;
  #resync: NodeJS.Timeout | undefined;
  #asked = false;
  #running = false;
  #stopped = false;
  // A row stays until the program closes the socket, also after the socket was destroyed: by nameOf().
  #ended = new Set<string>();
  #lost = new Set<string>();

  constructor(options: ReaperOptions) {
    this.#options = options;
    this.#kernel = options.kernel ?? thisKernel;
  }

  start(): void {
    this.#resync = setInterval(() => this.check(), resyncMs).unref();
    this.check();
  }

  stop(): void {
    this.#stopped = true;
    clearInterval(this.#resync);
  }

  /** Checks now, or once more after the running check. */
  check(): void {
    this.#asked = true;
    if (!this.#running) void this.#run();
  }

  async #run(): Promise<void> {
    this.#running = true;
    while (this.#asked && !this.#stopped) {
      this.#asked = false;
      await this.#reap().catch((error: unknown) => publish('agent.fault', { error }));
    }
    this.#running = false;
  }

  async #reap(): Promise<void> {
    const found = await this.#options.find(() => this.#stopped);
    this.#ended = keep(this.#ended, found);
    this.#lost = keep(this.#lost, found);
    const fresh = found.filter((socket) => !this.#ended.has(nameOf(socket)));
    if (fresh.length === 0) return;
    const { places, lost } = await placesOf(this.#kernel, fresh);
    this.#lose(lost, 'their network namespace is not visible: give the agent hostPID');
    let destroyed = 0;
    for (const place of places) {
      if (this.#stopped) break;
      destroyed += await this.#endAt(place);
    }
    if (destroyed > 0) publish('sockets.destroyed', { sockets: destroyed });
  }

  async #endAt({ path, netns, sockets }: Place): Promise<number> {
    let destroyed = 0;
    try {
      for (const family of [4, 6] as const) {
        const cookies = this.#cookiesOf(sockets, family);
        if (cookies.length === 0) continue;
        const where = path === undefined ? {} : { netns: path };
        const answer = await this.#kernel.destroySockets({ ...where, protocol: udp, family, cookies });
        destroyed += answer.destroyed;
        // Another namespace has this path by now: the next check finds a new path, or none.
        if (answer.cookieOfNetns !== netns) return destroyed;
      }
      // Done only when none was found connected: a listing of many sockets may miss some.
      if (destroyed === 0) for (const socket of sockets) this.#ended.add(nameOf(socket));
    } catch (error) {
      if (hasGone(error)) return destroyed;
      this.#lose(sockets, reasonOf(error));
    }
    return destroyed;
  }

  /** Checked again right before they are destroyed. IPv6 sockets may be connected to IPv4 addresses. */
  #cookiesOf(sockets: readonly StaleSocket[], family: 4 | 6): BigUint64Array {
    const wanted = sockets.filter((socket) => family === 6 || socket.family === 4);
    return BigUint64Array.from(wanted.filter(this.#options.includes).map(({ cookie }) => cookie));
  }

  #lose(sockets: readonly StaleSocket[], reason: string): void {
    const fresh = sockets.filter(
      (socket) => !this.#lost.has(nameOf(socket)) && this.#options.includes(socket),
    );
    if (fresh.length === 0) return;
    for (const socket of fresh) this.#lost.add(nameOf(socket));
    publish('sockets.stranded', {
      sockets: fresh.length,
      error: new SluiceError('SLB_E_STRANDED', reason),
    });
  }
}

/** With the backend: a socket that connects again may become stale again. */
function nameOf({ cookie, backend }: StaleSocket): string {
  return `${cookie} ${backend}`;
}

function keep(names: ReadonlySet<string>, found: readonly StaleSocket[]): Set<string> {
  return new Set(found.map(nameOf).filter((name) => names.has(name)));
}

/** The namespaces of the sockets, and sockets whose namespace was not found. */
async function placesOf(
  kernel: ReaperKernel,
  sockets: readonly StaleSocket[],
): Promise<{ places: readonly Place[]; lost: readonly StaleSocket[] }> {
  const own = kernel.netnsCookie();
  if (own === 0n) return { places: await everywhere(kernel, sockets), lost: [] };
  const groups = groupByNetns(sockets);
  const paths = await kernel.findNamespaces(new Set([...groups.keys()].filter((netns) => netns !== own)));
  const places: Place[] = [];
  const lost: StaleSocket[] = [];
  for (const [netns, group] of groups) {
    if (netns === own || paths.has(netns)) places.push({ path: paths.get(netns), netns, sockets: group });
    else lost.push(...group);
  }
  return { places, lost };
}

function groupByNetns(sockets: readonly StaleSocket[]): ReadonlyMap<bigint, readonly StaleSocket[]> {
  const groups = new Map<bigint, StaleSocket[]>();
  for (const socket of sockets) {
    const others = groups.get(socket.netns);
    if (others === undefined) groups.set(socket.netns, [socket]);
    else others.push(socket);
  }
  return groups;
}

/** Without netns cookies, all namespaces are searched: cookies of sockets are unique across them. */
async function everywhere(kernel: ReaperKernel, sockets: readonly StaleSocket[]): Promise<Place[]> {
  const paths = await kernel.listNamespaces();
  return paths.map((path) => ({ path, netns: 0n, sockets }));
}

function codeOf(error: unknown): string | undefined {
  return (error as Partial<NativeError>).code;
}

/** The namespace was deleted, and its sockets with it. */
function hasGone(error: unknown): boolean {
  return ['ENOENT', 'ESRCH', 'EINVAL'].includes(codeOf(error) ?? '');
}

function reasonOf(error: unknown): string {
  return codeOf(error) === 'EOPNOTSUPP' ? 'the kernel lacks CONFIG_INET_DIAG_DESTROY' : messageOf(error);
}
