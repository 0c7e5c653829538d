// The demo's web servers: one nginx in each pod, that answers with its own name.
import type { ChildProcess } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Machine } from '../../test/support/lab/lab.ts';
import { ownFolder } from '../../test/support/run/owner.ts';
import { until } from '../../test/support/run/process.ts';

export const webPort = 8080;
/** Half of it is more than the sockets on its way can hold, so the server is still sending when the client has stopped reading. */
export const downloadBytes = 32 << 20;

const configuration = (name: string, folder: string): string => `
user root;
worker_processes 1;
daemon off;
master_process off;
pid ${folder}/pid;
error_log ${folder}/error.log;
events { worker_connections 1024; }
http {
  access_log off;
  client_body_temp_path ${folder}/body;
  proxy_temp_path ${folder}/proxy;
  fastcgi_temp_path ${folder}/fastcgi;
  uwsgi_temp_path ${folder}/uwsgi;
  scgi_temp_path ${folder}/scgi;
  default_type text/plain;
  send_timeout 1h;
  add_header X-Backend ${name};
  server {
    listen ${String(webPort)} backlog=4096;
    listen [::]:${String(webPort)} backlog=4096;
    location / { return 200 "${name}\\n"; }
    location /who { return 200 "${name} $remote_addr\\n"; }
    location /download { root ${folder}; }
  }
}
`;

export interface WebServer {
  readonly pod: Machine;
  readonly child: ChildProcess;
}

export async function startWeb(pod: Machine): Promise<WebServer> {
  const folder = ownFolder(`nginx-${pod.name}`);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'download'), Buffer.alloc(downloadBytes, pod.name));
  const file = join(folder, 'nginx.conf');
  writeFileSync(file, configuration(pod.name, folder));
  const child = pod.netns.spawn(['nginx', '-p', folder, '-c', file, '-e', join(folder, 'error.log')], {
    stdio: 'ignore',
    detached: true,
  });
  const url = `http://${pod.v4}:${String(webPort)}/`;
  await until(`nginx in ${pod.name}`, async () => {
    const answer = await pod.actor.call('http', { url }).catch(() => undefined);
    return answer?.status === 200 ? true : undefined;
  });
  return { pod, child };
}
