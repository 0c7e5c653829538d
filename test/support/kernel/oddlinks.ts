// Network devices with hardware addresses of other lengths than Ethernet's, on kernels that lack the drivers of them.
import type { Netns } from '../actors/netns.ts';

/**
 * ARPHRD_*, by which the kernel chooses the length: IPv4 tunnels have 4 bytes, IPv6 tunnels 16, IPoIB 20, others
 * none.
 */
export const oddTypes = { INFINIBAND: 32, TUNNEL: 768, TUNNEL6: 769, SIT: 776, NONE: 65_534 } as const;

// TUNSETIFF with IFF_TUN | IFF_NO_PI, TUNSETLINK and TUNSETPERSIST, as on all machines but MIPS, PowerPC and SPARC.
const script = `
open(my $tun, "+<", "/dev/net/tun") or die "/dev/net/tun: $!";
my $request = pack("Z16 S x22", $ARGV[0], 0x1001);
ioctl($tun, 0x400454ca, $request) or die "TUNSETIFF: $!";
ioctl($tun, 0x400454cd, $ARGV[1] + 0) or die "TUNSETLINK: $!";
ioctl($tun, 0x400454cb, 1) or die "TUNSETPERSIST: $!";
`;

/** A TUN device that says it is of this type. It lives until its namespace ends. */
export async function addOddLink(netns: Netns, name: string, type: keyof typeof oddTypes): Promise<void> {
  await netns.run(['perl', '-e', script, name, String(oddTypes[type])]);
  await netns.ip([`link set ${name} up`]);
}
