// Why a Service is not forwarded as its manifest says: problems that the source reported, and those that show only when
// the Service is compared with its EndpointSlices.
import type { Problem } from '../../api/bodies.ts';
import { findingsOf, whyNotForwarded } from '../../source/findings.ts';
import type { SourceProblem } from '../../source/objects.ts';
import type { Store } from '../../source/store.ts';

type Known = Pick<Store, 'service' | 'slices' | 'serviceKeys' | 'currentProblems'>;

/** Each problem once: by file and line where the source has reported it, else by object. */
export function problemsOf(store: Known, key: string): readonly SourceProblem[] {
  const reported = store.currentProblems().filter(({ service }) => service === key);
  const isReported = (message: string): boolean => reported.some((problem) => problem.message === message);
  const others = findingsOf(store.service(key), store.slices(key)).filter(
    ({ message }) => !isReported(message),
  );
  return [
    ...reported,
    ...others.map(({ object: { kind, meta }, field, message }) => {
      return { where: `${kind} ${meta.namespace}/${meta.name}`, field, message };
    }),
  ];
}

/** The message of a 404: why this Service is not among those in the kernel. */
export function whyMissing(store: Known, key: string): string {
  const problems = problemsOf(store, key).map(describeProblem);
  const more = problems.length === 0 ? '' : `; ${problems.join('; ')}`;
  const service = store.service(key);
  if (service === undefined) return `there is no Service ${key}${alike(store, key)}${more}`;
  const reason = whyNotForwarded(service) ?? 'it is not in the kernel yet, `sluice status` tells more';
  return `nothing is forwarded for Service ${key}: ${reason}${more}`;
}

const shown = 5;

/** Services of the same name in other namespaces. */
function alike(store: Known, key: string): string {
  const name = key.slice(key.indexOf('/'));
  const found = store.serviceKeys().filter((other) => other.endsWith(name));
  return found.length === 0 ? '' : `, but ${found.slice(0, shown).join(', ')}`;
}

function describeProblem({ where, field, message }: SourceProblem): string {
  return `${where}: ${field === '' ? '' : `${field} `}${message}`;
}

export function problemBody({ where, field, message }: SourceProblem): Problem {
  return { where, field, message };
}
