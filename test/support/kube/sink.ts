// A sink that remembers: what stands now, and everything that was ever handed over.
import type { Change, SourceObject, SourceProblem, SourceSink } from '../../../src/source/objects.ts';
import { objectKey } from '../../../src/source/parse/object.ts';

export class RecordingSink implements SourceSink {
  readonly batches: (readonly Change[])[] = [];
  readonly objects = new Map<string, SourceObject>();
  syncs = 0;
  problemList: readonly SourceProblem[] = [];
  /** The messages of all problems there ever were. */
  readonly complaints = new Set<string>();

  changes(batch: readonly Change[]): void {
    this.batches.push(batch);
    for (const change of batch) {
      if (change.op === 'put') this.objects.set(objectKey(change.object), change.object);
      else this.objects.delete(`${change.kind}/${change.namespace}/${change.name}`);
    }
  }

  synced(): void {
    this.syncs++;
  }

  problems(list: readonly SourceProblem[]): void {
    this.problemList = list;
    for (const { message } of list) this.complaints.add(message);
  }

  /** Everything handed over so far, one short word a change: "put Service/default/web". */
  get story(): string[] {
    return this.batches.flat().map((change) => {
      if (change.op === 'put') return `put ${objectKey(change.object)}`;
      return `del ${change.kind}/${change.namespace}/${change.name}`;
    });
  }

  get names(): string[] {
    return [...this.objects.keys()].sort();
  }
}
