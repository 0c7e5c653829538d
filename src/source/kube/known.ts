// The objects of one kind that have been delivered, so that only differences are delivered next.
import type { Change, SourceKind, SourceObject } from '../objects.ts';
import { deletion } from '../parse/object.ts';

/** An object with its resourceVersion, by which changes are told. */
export interface Versioned {
  readonly object: SourceObject;
  readonly version: string;
}

interface Known {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly version: string;
}

export class KnownObjects {
  readonly #kind: SourceKind;
  readonly #known = new Map<string, Known>();

  constructor(kind: SourceKind) {
    this.#kind = kind;
  }

  /** An object with the name of a known one but another uid replaces it: a deletion, then a put (S-18). */
  put(key: string, { object, version }: Versioned): readonly Change[] {
    const known = this.#known.get(key);
    const { namespace, name, uid } = object.meta;
    if (known?.uid === uid && known.version === version) return [];
    this.#known.set(key, { namespace, name, uid, version });
    const put: Change = { op: 'put', object };
    return known === undefined || known.uid === uid ? [put] : [deletion(object), put];
  }

  remove(key: string): readonly Change[] {
    const known = this.#known.get(key);
    if (known === undefined) return [];
    this.#known.delete(key);
    return [{ op: 'del', kind: this.#kind, namespace: known.namespace, name: known.name }];
  }

  /**
   * The changes after a list: objects that are not in it were deleted while there was no watch (S-7). Deletions come
   * first, since they free addresses and ports (S-20); unchanged objects are left out.
   */
  replace(listed: ReadonlyMap<string, Versioned>): readonly Change[] {
    const gone = [...this.#known.keys()].filter((key) => !listed.has(key)).flatMap((key) => this.remove(key));
    const put = [...listed].flatMap(([key, versioned]) => this.put(key, versioned));
    return [...gone, ...put.filter(({ op }) => op === 'del'), ...put.filter(({ op }) => op === 'put')];
  }
}
