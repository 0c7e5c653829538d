// What the API reads of the agent. src/agent/view implements it; tests pass a literal.
import type {
  BackendPage,
  FlowPage,
  FlowQuery,
  PageQuery,
  Readiness,
  ServiceDetail,
  ServicePage,
  Status,
} from './bodies.ts';

/** Each page is bounded, so that a long table does not block the event loop. */
export type Paged<Query> = Query & { readonly limit: number };

export interface AgentView {
  readiness(): Readiness;
  status(): Status;
  services(page: Paged<PageQuery>): ServicePage;
  /** Throws SLB_E_NOT_FOUND, which says why nothing is forwarded for it. */
  service(namespace: string, name: string): ServiceDetail;
  backends(page: Paged<PageQuery>): BackendPage;
  /** Throws SLB_E_API for a client that is no IP address, or a cursor that no page returned. */
  flows(page: Paged<FlowQuery>): FlowPage;
  /** Prometheus text. */
  metrics(): Promise<string>;
}
