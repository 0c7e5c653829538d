// A million (fewer where it takes patience) forged first packets to a live service, each answered by its backend,
// whose answers nothing acknowledges: connections that were there go on, and the established table is as full as
// before.
import '../support/run/alone.ts';
import t, { type Test } from 'tap';
import { Bench } from '../support/kernel/bpfrun.ts';
import { bothFamilies, ip, type Addresses } from '../support/packet/addresses.ts';
import { numbersOf } from '../support/packet/probe.ts';
import { patience } from '../support/run/process.ts';

t.setTimeout(280_000);
const clients = Math.round(10_000 / patience);
const forged = Math.round(1_000_000 / patience ** 2);

const bench = new Bench({
  sizes: { slb_flows4: 32_768, slb_flows6: 32_768, slb_half4: 32_768, slb_half6: 32_768 },
  config: { tcpSynSec: 7200, udpNewSec: 7200 },
});
t.teardown(() => bench.close());

type Protocol = 'tcp' | 'udp';

/**
 * Packets between the service or its backend and many clients: written once, and then only the client's address and
 * port.
 */
class Stream {
  readonly #frame: Uint8Array;
  readonly #at: number;
  readonly #portAt: number;
  readonly #hook: 'in' | 'out';

  constructor(who: Addresses, protocol: Protocol, flags: string, reply: boolean) {
    const frame = reply ? ip(who.one, who.client) : ip(who.client, who.vip);
    const [sport, dport] = reply ? [8080, 1] : [1, 80];
    this.#frame = (
      protocol === 'udp'
        ? frame.udp({ sport, dport })
        : frame.tcp({ sport, dport, flags, ...numbersOf(flags) })
    ).bytes();
    const size = who.family === 4 ? 4 : 16;
    const addresses = 14 + (who.family === 4 ? 12 : 8);
    this.#at = addresses + (reply ? size : 0) + size - 3;
    this.#portAt = addresses + 2 * size + (reply ? 2 : 0);
    this.#hook = reply ? 'out' : 'in';
  }

  /** The answer's packet for this client. */
  run(client: number): number {
    const view = new DataView(this.#frame.buffer, this.#frame.byteOffset);
    view.setUint8(this.#at, client >>> 24);
    view.setUint16(this.#at + 1, client >>> 12);
    view.setUint16(this.#portAt, 1024 + (client & 4095));
    return bench.program(this.#hook).testRun({ data: this.#frame }).retval;
  }
}

const established = (who: Addresses): number =>
  [...bench.flows(who.family).keys()].filter((key) => key.startsWith('flows')).length;

function flood(test: Test, who: Addresses, protocol: Protocol, count: number): void {
  bench.clearFlows();
  bench.addService({ address: who.vip, port: 80, protocol, backends: [{ address: who.one, port: 8080 }] });
  const first = new Stream(who, protocol, 'S', false);
  const answer = new Stream(who, protocol, 'SA', true);
  const confirmation = new Stream(who, protocol, 'A', false);
  for (let client = 0; client < clients; client++) {
    first.run(client);
    answer.run(client);
    confirmation.run(client);
  }
  test.equal(established(who), 2 * clients, 'every client has its connection');
  for (let client = clients; client < clients + count; client++) {
    first.run(client);
    answer.run(client);
  }
  test.equal(established(who), 2 * clients, 'the flood has added nothing');
  const [hook, before] = ['in', bench.verdicts('in')] as const;
  for (let client = 0; client < clients; client++) confirmation.run(client);
  const requests = bench.verdicts(hook).map((value, verdict) => value - (before[verdict] ?? 0n));
  const counted = requests.filter((value) => value !== 0n);
  test.same(counted, [BigInt(clients)], 'each of the connections goes on, none anew');
}

for (const who of bothFamilies) {
  for (const protocol of ['tcp', 'udp'] as const) {
    // All of it once; the other family and protocol share the code, and are tried with a tenth.
    const count = who.family === 4 && protocol === 'tcp' ? forged : Math.round(forged / 10);
    t.test(`${String(count)} forged ${protocol === 'tcp' ? 'SYNs' : 'queries'}, IPv${who.family}`, (test) => {
      flood(test, who, protocol, count);
      test.end();
    });
  }
}
