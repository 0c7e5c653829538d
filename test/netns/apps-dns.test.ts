// Name servers behind services, asked by common resolvers: with the socket hooks on, and with them off. The topology is
// drawn in test/support/lab/apps.ts.
import t, { type Test } from 'tap';
import { dig, dnsServices, known, ResolvConf, resolvers } from '../support/lab/dnsserver.ts';
import type { Machine } from '../support/lab/lab.ts';

t.setTimeout(300_000);
const { apps, services } = await dnsServices(t, 2);
const [first, second] = [services[0]!, services[1]!];
const programs = await resolvers();
const sorted = [...known.addresses].sort();

async function everyProtocol(t: Test, client: Machine): Promise<void> {
  for (const { v4, v6, server } of services)
    for (const host of [v4, v6])
      for (const option of ['+notcp', '+tcp'])
        t.equal(await dig(client, host, option), server, `dig ${option} @${host}`);
}

let localPort = 5_300;

async function onePort(t: Test, client: Machine): Promise<void> {
  for (const [host, own] of [
    [first.v4, '0.0.0.0'],
    [first.v6, '::'],
    [first.v4, client.v4],
    [first.v6, client.v6],
  ] as const) {
    const from = `${own}#${String(++localPort)}`;
    for (let i = 0; i < 5; i++)
      t.equal(await dig(client, host, '+notcp', '-b', from), first.server, `from ${from} to ${host}`);
  }
}

/** Of several servers glibc asks the first; musl asks all of them at once, by one socket that names each. */
async function byResolver(t: Test, client: Machine): Promise<void> {
  for (const servers of [[first.v4], [first.v6], [first.v6, second.v4], [first.v4, second.v4]]) {
    const conf = new ResolvConf(servers);
    for (const [library, program] of Object.entries(programs))
      t.strictSame(await conf.run(client, [program, known.name]), sorted, `${library}: ${servers.join()}`);
  }
  const stream = new ResolvConf([first.v4], ['use-vc']);
  t.strictSame(await stream.run(client, [programs.glibc, known.name]), sorted, 'glibc by TCP');
  const [line = ''] = await new ResolvConf([first.v4]).run(client, ['getent', 'ahostsv4', known.name]);
  t.match(line, known.addresses[0], 'getent');
}

apps.everyUse(t, {
  'dig over UDP and TCP (S-52)': everyProtocol,
  'dig again and again from one port (S-52, S-81)': onePort,
  'names resolved by two C libraries (S-52)': byResolver,
});
