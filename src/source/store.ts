// The latest objects, by Service. The source delivers changes; listeners get the keys of the Services that they touch.
import type {
  Change,
  EndpointSliceObject,
  NamespaceObject,
  NodeObject,
  PodObject,
  ServiceObject,
  SourceKind,
  SourceObject,
  SourceProblem,
  SourceSink,
} from './objects.ts';

export interface StoreOptions {
  /** Name of this node, lower case. Objects of other nodes are not kept. */
  readonly nodeName: string;
  /** Schedules the announcement of Services, so that a burst of changes is one computation. For tests. */
  readonly schedule?: (task: () => void) => void;
}

/** Each is called after the change is in the store. */
export interface StoreListener {
  /** Keys (namespace/name) of Services to compute again, each once. Not called before all objects are known (S-102). */
  readonly onServices?: (services: readonly string[]) => void;
  /** Addresses or podCIDRs of the Node object have changed, or it was created or deleted. */
  readonly onNode?: () => void;
  /** A pod of this node or a namespace has changed in what concerns sockets, or all of them are known now. */
  readonly onPods?: () => void;
}

export interface Store extends SourceSink {
  /**
   * Subscribe before the source starts: earlier announcements are not repeated. Returns the function that unsubscribes.
   */
  subscribe(listener: StoreListener): () => void;
  /** Everything that existed at start is known. */
  readonly complete: boolean;
  service(key: string): ServiceObject | undefined;
  /** Slices with the label of this Service, whether it exists or not (S-23). */
  slices(key: string): readonly EndpointSliceObject[];
  node(): NodeObject | undefined;
  /** Zone label of this node, "" when unknown (S-111). */
  zone(): string;
  /** Pods of this node; [] when the source does not watch pods. */
  pods(): readonly PodObject[];
  namespace(name: string): NamespaceObject | undefined;
  serviceKeys(): readonly string[];
  /** Marks Services as changed whose rows depend on something else that has changed. */
  touch(services: readonly string[]): void;
  currentProblems(): readonly SourceProblem[];
}

const zoneLabel = 'topology.kubernetes.io/zone';

interface State {
  readonly services: Map<string, ServiceObject>;
  readonly slices: Map<string, EndpointSliceObject>; // by namespace/name of the slice
  readonly byService: Map<string, Map<string, EndpointSliceObject>>;
  readonly dirty: Set<string>;
  readonly pods: Map<string, PodObject>;
  readonly namespaces: Map<string, NamespaceObject>; // by name
  podsChanged: boolean;
  node: NodeObject | undefined;
  problems: readonly SourceProblem[];
  complete: boolean;
  scheduled: boolean;
}

export function createStore(options: StoreOptions): Store {
  const state = emptyState();
  const listeners = new Set<StoreListener>();
  const announce = announcer(state, listeners, options.schedule);
  const announceNode = (): void => listeners.forEach(({ onNode }) => onNode?.());
  const announcePods = (): void => listeners.forEach(({ onPods }) => onPods?.());
  return {
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    get complete() {
      return state.complete;
    },
    changes(batch) {
      const before = networkOf(state.node);
      for (const change of batch) applyChange(state, options.nodeName, change);
      if (networkOf(state.node) !== before) announceNode();
      if (state.podsChanged) announcePods();
      state.podsChanged = false;
      announce();
    },
    synced() {
      state.complete = true;
      announcePods();
      announce();
    },
    problems(list) {
      state.problems = list;
    },
    touch(services) {
      for (const key of services) state.dirty.add(key);
      announce();
    },
    ...lookups(state),
  };
}

function lookups(state: State): Omit<Store, keyof SourceSink | 'subscribe' | 'complete' | 'touch'> {
  return {
    service: (key) => state.services.get(key),
    slices: (key) => [...(state.byService.get(key)?.values() ?? [])],
    node: () => state.node,
    zone: () => zoneOf(state.node),
    pods: () => [...state.pods.values()],
    namespace: (name) => state.namespaces.get(name),
    serviceKeys: () => [...state.services.keys()],
    currentProblems: () => state.problems,
  };
}

function emptyState(): State {
  return {
    services: new Map(),
    slices: new Map(),
    byService: new Map(),
    dirty: new Set(),
    pods: new Map(),
    namespaces: new Map(),
    podsChanged: false,
    node: undefined,
    problems: [],
    complete: false,
    scheduled: false,
  };
}

/** Collects keys until the scheduled moment. The first call after sync is made even when there are none. */
function announcer(
  state: State,
  listeners: ReadonlySet<StoreListener>,
  schedule: StoreOptions['schedule'] = setImmediate,
): () => void {
  let told = false;
  return () => {
    if (state.scheduled || !state.complete || (told && state.dirty.size === 0)) return;
    state.scheduled = true;
    schedule(() => {
      state.scheduled = false;
      told = true;
      const keys = [...state.dirty];
      state.dirty.clear();
      for (const { onServices } of listeners) onServices?.(keys);
    });
  };
}

function applyChange(state: State, nodeName: string, change: Change): void {
  const kind = change.op === 'put' ? change.object.kind : change.kind;
  const { namespace, name } = change.op === 'put' ? change.object.meta : change;
  const object = change.op === 'put' ? change.object : undefined;
  appliers[kind](state, `${namespace}/${name}`, object, nodeName);
}

type Applier = (state: State, key: string, object: SourceObject | undefined, nodeName: string) => void;

const appliers: Readonly<Record<SourceKind, Applier>> = {
  Service: (state, key, object) => {
    if (object?.kind === 'Service') state.services.set(key, object);
    else if (!state.services.delete(key)) return;
    state.dirty.add(key);
  },
  EndpointSlice: (state, key, object) => {
    const slice = object?.kind === 'EndpointSlice' ? object : undefined;
    const before = state.slices.get(key);
    if (before !== undefined) leaveService(state, key, before);
    if (slice === undefined) state.slices.delete(key);
    else state.slices.set(key, slice);
    if (slice !== undefined) joinService(state, key, slice);
  },
  Node: (state, key, object, nodeName) => {
    const node = object?.kind === 'Node' ? object : undefined;
    if (nameOf(key).toLowerCase() !== nodeName) return;
    const before = zoneOf(state.node);
    state.node = node;
    if (zoneOf(node) !== before) dirtyHinted(state); // heartbeats change nothing (S-111)
  },
  Namespace: (state, key, object) => {
    replace(state, state.namespaces, nameOf(key), object?.kind === 'Namespace' ? object : undefined);
  },
  Pod: (state, key, object, nodeName) => {
    const pod = object?.kind === 'Pod' ? object : undefined;
    const isHere = pod?.nodeName === undefined || pod.nodeName.toLowerCase() === nodeName;
    replace(state, state.pods, key, isHere ? pod : undefined);
  },
};

function nameOf(key: string): string {
  return key.slice(key.indexOf('/') + 1);
}

/** Most updates of a pod change nothing that is kept of it. */
function replace<T extends object>(
  state: State,
  objects: Map<string, T>,
  key: string,
  object: T | undefined,
): void {
  if (JSON.stringify(objects.get(key)) === JSON.stringify(object)) return;
  if (object === undefined) objects.delete(key);
  else objects.set(key, object);
  state.podsChanged = true;
}

/** The label may change: the slice leaves the Service that it had before (S-21). */
function leaveService(state: State, key: string, slice: EndpointSliceObject): void {
  const service = ownerOf(slice);
  if (service === undefined) return;
  const siblings = state.byService.get(service);
  siblings?.delete(key);
  if (siblings?.size === 0) state.byService.delete(service);
  state.dirty.add(service);
}

function joinService(state: State, key: string, slice: EndpointSliceObject): void {
  const service = ownerOf(slice);
  if (service === undefined) return;
  let siblings = state.byService.get(service);
  if (siblings === undefined)
    state.byService.set(service, (siblings = new Map<string, EndpointSliceObject>()));
  siblings.set(key, slice);
  state.dirty.add(service);
}

function ownerOf(slice: EndpointSliceObject): string | undefined {
  return slice.serviceName === '' ? undefined : `${slice.meta.namespace}/${slice.serviceName}`;
}

function dirtyHinted(state: State): void {
  for (const [service, slices] of state.byService) {
    const hinted = [...slices.values()].some((slice) =>
      slice.endpoints.some((one) => one.zoneHints.length > 0),
    );
    if (hinted) state.dirty.add(service);
  }
}

/** For comparison; heartbeats do not change it (S-111). */
function networkOf(node: NodeObject | undefined): string {
  return node === undefined ? '' : JSON.stringify([node.addresses, node.podCIDRs]);
}

function zoneOf(node: NodeObject | undefined): string {
  return node?.meta.labels[zoneLabel] ?? '';
}
