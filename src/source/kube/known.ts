// What has been handed over of one kind of objects, so that only differences are.
import type { Change, SourceKind, SourceObject } from '../objects.ts';
import { deletion } from '../parse/object.ts';

/** An object with the version that tells whether it is news. */
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

export class Mirror {
  readonly #kind: SourceKind;
  readonly #known = new Map<string, Known>();

  constructor(kind: SourceKind) {
    this.#kind = kind;
  }

  /** An object that was re-created under its old name is another one: first the old one goes (S-18). */
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
   * After a list: what is not in it has gone while there was no watch (S-7). One batch, deletions first, so that what they
   * free can be taken (S-20), and nothing that stayed the same.
   */
  replace(listed: ReadonlyMap<string, Versioned>): readonly Change[] {
    const gone = [...this.#known.keys()].filter((key) => !listed.has(key)).flatMap((key) => this.remove(key));
    const put = [...listed].flatMap(([key, versioned]) => this.put(key, versioned));
    return [...gone, ...put.filter(({ op }) => op === 'del'), ...put.filter(({ op }) => op === 'put')];
  }
}
