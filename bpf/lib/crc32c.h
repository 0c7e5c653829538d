/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* CRC32c (RFC 3720, B.4) of a change, without reading the whole packet: CRCs are linear, so those of two messages of
 * one length differ (xor) by the CRC of their difference. Polynomials over GF(2), reflected: the highest power is bit
 * 0. */
#pragma once
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

#define CRC32C_POLYNOMIAL  0x82f63b78 /* without x^32 */
#define CRC32C_LENGTH_BITS 16

/* a · b modulo the polynomial. Without branches, so that the verifier walks one path. */
static __always_inline __u32 crc32c_multiply(__u32 a, __u32 b)
{
	__u32 product = 0;

#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < 32; i++) {
		product ^= b & -(a >> 31);
		a <<= 1;
		b = (b >> 1) ^ (CRC32C_POLYNOMIAL & -(b & 1));
	}
	return product;
}

/* By what to xor a CRC32c when the first four of `length` bytes change by `difference` (xor): its product with
 * x^(8 · length). A global function, which the verifier walks once. */
__noinline __u32 slb_crc32c(__u32 difference, __u32 length)
{
	/* x^8, x^16, x^32, …: each the square of the one before */
	const __u32 powers[CRC32C_LENGTH_BITS] = {
		0x00800000, 0x00008000, 0x82f63b78, 0x6ea2d55c, 0x18b8ea18, 0x510ac59a, 0xb82be955, 0xb8fdb1e7,
		0x88e56f72, 0x74c360a4, 0xe4172b16, 0x0d65762a, 0x35d73a62, 0x28461564, 0xbf455269, 0xe2ea32dc,
	};

#pragma unroll
	for (__u32 i = 0; i < CRC32C_LENGTH_BITS; i++) {
		if (length >> i & 1)
			difference = crc32c_multiply(difference, powers[i]);
	}
	return difference;
}
