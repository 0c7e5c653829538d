// What the API server wrote down about the agent's requests.

/** The agent's requests alone. A watch is logged when it starts, other requests when they end. */
export const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
    users: ['system:serviceaccount:kube-system:sluice']
  - level: None
`;

export interface AuditedRequest {
  readonly verb: string;
  readonly resource: string;
  readonly query: URLSearchParams;
  readonly code: number;
}

interface AuditEvent {
  readonly auditID: string;
  readonly verb: string;
  readonly requestURI: string;
  readonly objectRef?: { readonly resource?: string };
  readonly responseStatus?: { readonly code?: number };
}

/** One entry a request, in the order in which they were answered first. */
export function audited(log: string): readonly AuditedRequest[] {
  const events = log
    .split('\n')
    .filter((line) => line.endsWith('}')) // the last line may be half-written
    .map((line) => JSON.parse(line) as AuditEvent);
  const first = new Map<string, AuditEvent>();
  for (const event of events) if (!first.has(event.auditID)) first.set(event.auditID, event);
  return [...first.values()].map((event) => ({
    verb: event.verb,
    resource: event.objectRef?.resource ?? '',
    query: new URL(event.requestURI, 'https://server').searchParams,
    code: event.responseStatus?.code ?? 0,
  }));
}
