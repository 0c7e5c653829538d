// A database behind a service: queries, and sessions with a transaction under way, with the socket hooks on, with
// them off, and with both in turn. The topology is drawn in test/support/lab/apps.ts.
import t from 'tap';
import { Apps, settings } from '../support/lab/apps.ts';
import { databasePort, query, Session, startDatabase } from '../support/lab/database.ts';
import { bothAddresses, echoService } from '../support/lab/echo.ts';

t.setTimeout(300_000);
const apps = await Apps.start(t);
const service = echoService('postgres', 10);
await startDatabase(apps.one);
apps.offer({ service, port: databasePort, endpoints: bothAddresses([apps.one]) });
const hosts = [service.v4, service.v6];

for (const setting of settings)
  t.test(`queries, a connection each; socket hooks ${setting} (S-52)`, (t) =>
    apps.through(t, setting, async () => {
      for (const client of apps.clients)
        for (const host of hosts) {
          const found = await query(client, host, `select 'asked at ' || '${host}', inet_server_port()`);
          t.equal(found, `asked at ${host}|${String(databasePort)}`, `from the ${client.name}`);
        }
    }),
  );

t.test('a transaction goes on while the hooks are switched, and is committed (S-89, S-104)', async (t) => {
  await apps.hooks('on');
  await query(apps.client, service.v4, 'create table steps (session int, step text)');
  const sessions: Session[] = [];
  t.teardown(() => Promise.all(sessions.map((session) => session.close())));
  const steps: string[] = [];
  const step = async (what: string): Promise<void> => {
    steps.push(what);
    for (const [i, session] of sessions.entries()) {
      const rows = await session.do(`insert into steps values (${i}, '${what}') returning step;`);
      t.strictSame(rows, [what], `session ${i}`);
    }
  };
  for (const client of apps.clients) for (const host of hosts) sessions.push(new Session(client, host));
  for (const session of sessions) t.strictSame(await session.do('begin;'), []);
  await step('begun with on');
  for (const setting of ['off', 'on'] as const) {
    await apps.hooks(setting);
    await step(`then ${setting}`);
  }
  await apps.crash();
  await step('after the agent died');
  t.equal(
    await query(apps.client, service.v4, 'select count(*) from steps'),
    '0',
    'no other session sees it yet',
  );
  for (const session of sessions) t.strictSame(await session.do('commit;'), []);
  const committed = await query(apps.client, service.v4, 'select session, step from steps');
  const wanted = steps.flatMap((what) => sessions.map((_, i) => `${i}|${what}`));
  t.strictSame(committed.split('\n').sort(), wanted.sort());
});
