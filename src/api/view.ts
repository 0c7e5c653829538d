// What the API may ask of the agent. The agent implements it; tests hand over a literal.
import type { Backend, FlowPage, FlowQuery, Readiness, Service, ServiceDetail, Status } from './bodies.ts';

export interface AgentView {
  readiness(): Readiness;
  status(): Status;
  services(): Service[];
  service(namespace: string, name: string): ServiceDetail | undefined;
  backends(): Backend[];
  /** Throws SluiceError SLB_E_API for a cursor that no page handed out. */
  flows(query: FlowQuery & { limit: number }): FlowPage;
  /** Prometheus text, and its content type. */
  metrics(): Promise<string>;
}
