// The components of the agent that the REST API, the CLI and the metrics report on, each narrowed to what they read.
import type { Config } from '../../config/schema.ts';
import type { Exemptions } from '../exemptions.ts';
import type { Attachments } from '../../hooks/attach.ts';
import type { Features } from '../../kernel/features.ts';
import type { SocketHooks } from '../../hooks/cgroup.ts';
import type { Host } from '../../host/host.ts';
import type { Dataplane } from '../../maps/plane.ts';
import type { RecentErrors } from '../../observe/recent.ts';
import type { Programmer } from '../programmer.ts';
import type { Source } from '../../source/objects.ts';
import type { Store } from '../../source/store.ts';

export interface Components {
  readonly config: Pick<Config, 'nodeName'>;
  readonly features: Pick<Features, 'list'>;
  readonly source: Pick<Source, 'description'>;
  readonly store: Pick<Store, 'currentProblems' | 'service' | 'serviceKeys' | 'slices'>;
  readonly plane: Omit<
    Pick<Dataplane, keyof Dataplane>,
    | 'update'
    | 'setHost'
    | 'onStale'
    | 'staleSockets'
    | 'start'
    | 'stop'
    | 'sweep'
    | 'repair'
    | 'grow'
    | 'idle'
  >;
  readonly host: Pick<Host, 'nodeAddresses'>;
  readonly attachments: Pick<Attachments, 'states'>;
  readonly sockets: Pick<SocketHooks, 'state'>;
  readonly exemptions: Pick<Exemptions, 'list'>;
  readonly programmer: Pick<Programmer, 'missing' | 'listed'>;
  readonly errors: Pick<RecentErrors, 'list'>;
}
