// What the API may ask of the agent. The agent implements it; tests hand over a literal.
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

/** A page has a size: a table of any length must not hold up the loop that fills it. */
export type Paged<Query> = Query & { readonly limit: number };

export interface AgentView {
  readiness(): Readiness;
  status(): Status;
  services(page: Paged<PageQuery>): ServicePage;
  /** Throws SluiceError SLB_E_NOT_FOUND, which says why, when nothing is forwarded for it. */
  service(namespace: string, name: string): ServiceDetail;
  backends(page: Paged<PageQuery>): BackendPage;
  /** Throws SluiceError SLB_E_API for a cursor that no page handed out. */
  flows(page: Paged<FlowQuery>): FlowPage;
  /** Prometheus text. */
  metrics(): Promise<string>;
}
