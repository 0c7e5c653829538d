// Which peer every sort of socket reports to its program: with the socket hooks on, with them off, and with both in
// turn while the sockets stay open. The topology is drawn in test/support/lab/apps.ts.
import t, { type Test } from 'tap';
import type { Use } from '../support/lab/apps.ts';
import { DnsClient, type Place } from '../support/lab/dnsclient.ts';
import { dnsPort, dnsServices, type DnsService } from '../support/lab/dnsserver.ts';
import type { Machine } from '../support/lab/lab.ts';

t.setTimeout(300_000);
/** More than the hooks keep rows for one socket. */
const { apps, services } = await dnsServices(t, 6);
const [first, second, third] = [services[0]!, services[1]!, services[2]!];

interface Way {
  readonly family: 4 | 6;
  readonly any: string;
  at(service: DnsService): string;
}

/** How a program may name a service: the family of its socket, and the address. */
const ways: Readonly<Record<string, Way>> = {
  IPv4: { family: 4, any: '0.0.0.0', at: ({ v4 }) => v4 },
  IPv6: { family: 6, any: '::', at: ({ v6 }) => v6 },
  'IPv4 by a socket of IPv6': { family: 6, any: '::', at: ({ v4 }) => `::ffff:${v4}` },
};

const place = ({ at }: Way, service: DnsService): Place => [at(service), dnsPort];
/** Each answer from the address that was asked, with the text of its server. */
const answers = ({ at }: Way, asked: readonly DnsService[]): Record<string, string> =>
  Object.fromEntries(asked.map((service) => [at(service), service.server]));

async function withDnsClient(
  t: Test,
  { netns }: Machine,
  test: (dns: DnsClient) => Promise<void>,
): Promise<void> {
  const dns = DnsClient.start(netns);
  t.teardown(() => dns.stop());
  await test(dns);
}

async function peers(t: Test, dns: DnsClient): Promise<void> {
  for (const [family, way] of Object.entries(ways)) {
    for (const type of ['udp', 'tcp'] as const) {
      const connect = place(way, first);
      const { name, peer } = await dns.open({ type, family: way.family, connect });
      t.strictSame(peer, connect, `${type} over ${family}, as soon as it is connected`);
      t.strictSame(await dns.ask(name), answers(way, [first]), 'it is served');
      t.strictSame(await dns.peer(name), connect, 'and when the server has answered');
      await dns.close(name);
    }
  }
}

/** All at once from one socket: their answers differ in nothing but their sender. */
async function atOnce(t: Test, dns: DnsClient, asked: readonly DnsService[]): Promise<void> {
  for (const [family, way] of Object.entries(ways)) {
    for (let round = 0; round < 5; round++) {
      const { name } = await dns.open({ type: 'udp', family: way.family });
      for (let turn = 0; turn < 3; turn++) {
        const found = await dns.ask(name, ...asked.map((service) => place(way, service)));
        t.strictSame(found, answers(way, asked), `${family}, socket ${round}, turn ${turn}`);
      }
      await dns.close(name);
    }
  }
}

let localPort = 5_400;

/** One after another, from a port of the kernel's choice and from one of its own. */
async function inTurn(t: Test, dns: DnsClient): Promise<void> {
  for (const [family, way] of Object.entries(ways)) {
    for (const bind of [undefined, [way.any, ++localPort] as const]) {
      const socket = { type: 'udp', family: way.family, ...(bind === undefined ? {} : { bind }) } as const;
      const { name } = await dns.open(socket);
      for (const service of [first, first, second, first, third, second, first]) {
        const found = await dns.ask(name, place(way, service));
        t.strictSame(found, answers(way, [service]), `${family}, from ${bind?.join(' ') ?? 'any port'}`);
      }
      await dns.close(name);
    }
  }
}

const talks: Readonly<Record<string, (t: Test, dns: DnsClient) => Promise<void>>> = {
  'a connected socket has the service as its peer': peers,
  'an unconnected socket asks services in turn (S-52, S-81)': inTurn,
  'two services at once (S-52)': (t, dns) => atOnce(t, dns, [first, second]),
  'two services of one backend at once (S-52)': (t, dns) => atOnce(t, dns, [first, third]),
  'six services of two backends at once (S-52)': (t, dns) => atOnce(t, dns, services),
};

const asked = Object.entries(talks).map(([what, talk]): [string, Use] => [
  what,
  (t, client) => withDnsClient(t, client, (dns) => talk(t, dns)),
]);
apps.everyUse(t, Object.fromEntries(asked));

/** Sockets of every sort, to be asked again after each change. */
async function openAll(dns: DnsClient): Promise<(t: Test, when: string) => Promise<void>> {
  const held: { name: string; to: readonly Place[]; wanted: Record<string, string>; what: string }[] = [];
  for (const [family, way] of Object.entries(ways)) {
    const connect = place(way, first);
    for (const type of ['udp', 'tcp'] as const) {
      const { name } = await dns.open({ type, family: way.family, connect });
      held.push({ name, to: [], wanted: answers(way, [first]), what: `connected ${type}, ${family}` });
    }
    const { name } = await dns.open({ type: 'udp', family: way.family });
    const to = [connect, place(way, second)];
    held.push({ name, to, wanted: answers(way, [first, second]), what: `unconnected, ${family}` });
  }
  return async (t, when) => {
    for (const { name, to, wanted, what } of held) {
      t.strictSame(await dns.ask(name, ...to), wanted, `${what}, ${when}`);
      if (to.length === 0) t.strictSame((await dns.peer(name))[0], Object.keys(wanted)[0], 'its peer');
    }
  };
}

t.test('open sockets live on while the hooks are switched (S-81, S-89, S-104)', async (t) => {
  await apps.hooks('on');
  const dnsClients = apps.clients.map(({ netns }) => DnsClient.start(netns));
  t.teardown(() => Promise.all(dnsClients.map((dns) => dns.stop())));
  const all: ((t: Test, when: string) => Promise<void>)[] = [];
  for (const setting of ['on', 'off', 'on'] as const) {
    await apps.hooks(setting);
    for (const ask of all) await ask(t, `then ${setting}`);
    for (const dns of dnsClients) {
      const ask = await openAll(dns);
      await ask(t, `opened with ${setting}`);
      all.push(ask);
    }
  }
  await apps.crash();
  for (const ask of all) await ask(t, 'after the agent died');
});
