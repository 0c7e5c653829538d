// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/* Traffic to be timed, with as little as possible beside what the kernel does.
 *   load serve PORT     answers TCP and UDP of both families
 *   load work           takes orders from its input, a line each: WHAT ADDRESS PORT COUNT; answers with ns a piece
 * A server closes first, so that its clients' ports are free again at once. */
#define _GNU_SOURCE /* sched_setaffinity() */
#include <arpa/inet.h>
#include <err.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum {
	BACKLOG = 4096,
	CHUNK = 64 * 1024, /* bytes a write of a bulk transfer */
	BATCH = 64,	   /* datagrams that a socket's buffer surely holds */
	PATIENCE = 5,	   /* seconds until a datagram counts as lost */
};

/* The first byte of a connection: what its client wants. */
enum { WANT_ECHO = 'e', WANT_SINK = 's' };

static const int on = 1;
static char chunk[CHUNK];

struct place {
	struct sockaddr_storage address;
	socklen_t size;
};

static struct sockaddr *address_of(struct place *place)
{
	return (struct sockaddr *)&place->address;
}

static struct place parse(const char *text, int port)
{
	struct place place = {.size = sizeof(struct sockaddr_in)};
	struct sockaddr_in *four = (struct sockaddr_in *)&place.address;
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)&place.address;

	if (inet_pton(AF_INET, text, &four->sin_addr) == 1) {
		four->sin_family = AF_INET;
		four->sin_port = htons(port);
		return place;
	}
	if (inet_pton(AF_INET6, text, &six->sin6_addr) != 1)
		errx(2, "no address: %s", text);
	six->sin6_family = AF_INET6;
	six->sin6_port = htons(port);
	place.size = sizeof(*six);
	return place;
}

static int open_socket(int family, int type)
{
	struct timeval patience = {.tv_sec = PATIENCE};
	int sock = socket(family, type, 0);

	if (sock < 0)
		err(1, "socket");
	if (type == SOCK_STREAM)
		setsockopt(sock, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	else
		setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	return sock;
}

static int bound_socket(int type, int port)
{
	struct place any = parse("::", port);
	int sock = socket(AF_INET6, type, 0);

	setsockopt(sock, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(sock, address_of(&any), any.size))
		err(1, "port %d", port);
	return sock;
}

static void attend(int peer)
{
	if (recv(peer, chunk, 1, 0) != 1)
		return;
	if (chunk[0] == WANT_SINK)
		while (recv(peer, chunk, sizeof(chunk), 0) > 0)
			;
	send(peer, chunk, 1, MSG_NOSIGNAL);
}

static void serve_tcp(int port)
{
	int listener = bound_socket(SOCK_STREAM, port);

	if (listen(listener, BACKLOG))
		err(1, "port %d", port);
	for (;;) {
		int peer = accept(listener, NULL, NULL);

		if (peer < 0)
			continue;
		attend(peer);
		close(peer);
	}
}

static void serve_udp(int port)
{
	int sock = bound_socket(SOCK_DGRAM, port);

	for (;;) {
		struct place peer = {.size = sizeof(peer.address)};
		ssize_t size = recvfrom(sock, chunk, sizeof(chunk), 0, address_of(&peer), &peer.size);

		if (size >= 0)
			sendto(sock, chunk, size, 0, address_of(&peer), peer.size);
	}
}

static void serve(int port)
{
	pid_t child = fork();

	if (child < 0)
		err(1, "fork");
	if (child > 0)
		serve_tcp(port);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	serve_udp(port);
}

/* Every work answers how many ns all its pieces took together. */

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1e9 + time.tv_nsec;
}

/* Closing is no part of the work. */
static double close_after(int sock, double begin)
{
	double took = now() - begin;

	close(sock);
	return took;
}

static void dial(int sock, struct place *to)
{
	if (connect(sock, address_of(to), to->size))
		err(1, "connect");
}

static bool answered(int sock)
{
	char byte;

	return recv(sock, &byte, 1, 0) == 1 && recv(sock, &byte, 1, 0) == 0;
}

/* Connect, a byte there, the byte back, close. */
static double connections(struct place *to, int count)
{
	const char want = WANT_ECHO;
	double begin = now();

	for (int i = 0; i < count; i++) {
		int sock = open_socket(to->address.ss_family, SOCK_STREAM);

		dial(sock, to);
		if (send(sock, &want, 1, MSG_NOSIGNAL) != 1 || !answered(sock))
			err(1, "connection %d", i);
		close(sock);
	}
	return now() - begin;
}

/* So many chunks down one connection, until the server has them all. */
static double bulk(struct place *to, int count)
{
	int sock = open_socket(to->address.ss_family, SOCK_STREAM);
	const char want = WANT_SINK;
	double begin;

	dial(sock, to);
	if (send(sock, &want, 1, MSG_NOSIGNAL) != 1)
		err(1, "send");
	begin = now();
	for (int i = 0; i < count; i++)
		if (send(sock, chunk, sizeof(chunk), MSG_NOSIGNAL) != sizeof(chunk))
			err(1, "chunk %d", i);
	shutdown(sock, SHUT_WR);
	if (!answered(sock))
		err(1, "end of %d chunks", count);
	return close_after(sock, begin);
}

/* A datagram there, the datagram back, on a connected socket. */
static double connected(struct place *to, int count)
{
	int sock = open_socket(to->address.ss_family, SOCK_DGRAM);
	double begin;
	char byte = 0;

	dial(sock, to);
	begin = now();
	for (int i = 0; i < count; i++)
		if (send(sock, &byte, 1, 0) != 1 || recv(sock, &byte, 1, 0) != 1)
			err(1, "datagram %d", i);
	return close_after(sock, begin);
}

/* The same with a peer named each time, whose own the answer must be. */
static double unconnected(struct place *to, int count)
{
	int sock = open_socket(to->address.ss_family, SOCK_DGRAM);
	double begin = now();
	char byte = 0;

	for (int i = 0; i < count; i++) {
		struct place from = {.size = sizeof(from.address)};

		if (sendto(sock, &byte, 1, 0, address_of(to), to->size) != 1 ||
		    recvfrom(sock, &byte, 1, 0, address_of(&from), &from.size) != 1)
			err(1, "datagram %d", i);
		if (from.size != to->size || memcmp(&from.address, &to->address, to->size))
			errx(1, "datagram %d: answered by another peer", i);
	}
	return close_after(sock, begin);
}

/* connect() alone, without a packet. */
static double connects(struct place *to, int count)
{
	int sock = open_socket(to->address.ss_family, SOCK_DGRAM);
	double begin = now();

	for (int i = 0; i < count; i++)
		dial(sock, to);
	return close_after(sock, begin);
}

/* socket() and close() alone. */
static double sockets(struct place *to, int count)
{
	double begin = now();

	for (int i = 0; i < count; i++)
		close(open_socket(to->address.ss_family, SOCK_STREAM));
	return now() - begin;
}

/* Datagrams to a socket of our own at this address, a batch at a time: only one of the two calls is timed. */
static double loopback(struct place *to, int count, bool sending)
{
	int near = open_socket(to->address.ss_family, SOCK_DGRAM), far = open_socket(to->address.ss_family, SOCK_DGRAM);
	double sent = 0, received = 0;
	char byte = 0;

	if (bind(far, address_of(to), to->size))
		err(1, "bind");
	for (int done = 0; done < count; done += BATCH) {
		double begin = now(), between;

		for (int i = 0; i < BATCH; i++)
			if (sendto(near, &byte, 1, 0, address_of(to), to->size) != 1)
				err(1, "sendto");
		between = now();
		sent += between - begin;
		for (int i = 0; i < BATCH; i++) {
			struct place from = {.size = sizeof(from.address)};

			if (recvfrom(far, &byte, 1, 0, address_of(&from), &from.size) != 1)
				err(1, "recvfrom");
		}
		received += now() - between;
	}
	close(near);
	close(far);
	return sending ? sent : received;
}

static double sends(struct place *to, int count)
{
	return loopback(to, count, true);
}

static double receives(struct place *to, int count)
{
	return loopback(to, count, false);
}

static const struct {
	const char *name;
	double (*run)(struct place *to, int count);
} works[] = {
	{"connection", connections}, {"bulk", bulk},	  {"connected", connected}, {"unconnected", unconnected},
	{"connect", connects},	     {"socket", sockets}, {"sendto", sends},	    {"recvfrom", receives},
};

static double obey(const char *what, struct place *to, int count)
{
	for (size_t i = 0; i < sizeof(works) / sizeof(works[0]); i++)
		if (!strcmp(what, works[i].name))
			return works[i].run(to, count);
	errx(2, "no such work: %s", what);
}

static void work(void)
{
	char what[32], address[64];
	int port, count;

	while (scanf("%31s %63s %d %d", what, address, &port, &count) == 4) {
		struct place to = parse(address, port);

		printf("%.1f\n", obey(what, &to, count) / count);
		fflush(stdout);
	}
}

/* Clients, servers and the softirqs between them share the last CPU, before everything else that runs there: a time is
 * then work done, not how fast another CPU wakes up, and whatever a proxy adds shows in full. */
static void settle(void)
{
	const struct sched_param first = {.sched_priority = 1};
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(sysconf(_SC_NPROCESSORS_ONLN) - 1, &cpus);
	if (sched_setaffinity(0, sizeof(cpus), &cpus))
		err(1, "sched_setaffinity");
	if (sched_setscheduler(0, SCHED_FIFO, &first))
		warn("SCHED_FIFO: what else runs will show in the figures");
}

int main(int argc, char **argv)
{
	settle();
	if (argc == 3 && !strcmp(argv[1], "serve"))
		serve(atoi(argv[2]));
	else if (argc == 2 && !strcmp(argv[1], "work"))
		work();
	else
		errx(2, "serve PORT | work");
	return 0;
}
