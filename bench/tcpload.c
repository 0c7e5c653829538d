// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/* Connect, one byte there, one byte back, close: as little as possible beside what the kernel does.
 *   tcpload serve PORT
 *   tcpload dial ADDRESS PORT CONNECTIONS     prints ns a connection, one after the other
 * The server closes first, so that the client's ports are free again at once. */
#include <arpa/inet.h>
#include <err.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static const int on = 1;

static int serve(int port)
{
	struct sockaddr_in6 address = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	int listener = socket(AF_INET6, SOCK_STREAM, 0);
	char byte;

	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(listener, (struct sockaddr *)&address, sizeof(address)) || listen(listener, 4096))
		err(1, "port %d", port);
	for (;;) {
		int peer = accept(listener, NULL, NULL);

		if (peer < 0)
			continue;
		if (recv(peer, &byte, 1, 0) == 1)
			send(peer, &byte, 1, MSG_NOSIGNAL);
		close(peer);
	}
}

static bool exchange(const struct sockaddr *address, socklen_t size)
{
	int sock = socket(address->sa_family, SOCK_STREAM, 0);
	char byte = 'x';
	bool good;

	setsockopt(sock, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	good = !connect(sock, address, size) && send(sock, &byte, 1, MSG_NOSIGNAL) == 1 && recv(sock, &byte, 1, 0) == 1 &&
	       recv(sock, &byte, 1, 0) == 0;
	close(sock);
	return good;
}

static socklen_t parse(const char *text, int port, struct sockaddr_storage *out)
{
	struct sockaddr_in *four = (struct sockaddr_in *)out;
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)out;

	memset(out, 0, sizeof(*out));
	if (inet_pton(AF_INET, text, &four->sin_addr) == 1) {
		four->sin_family = AF_INET;
		four->sin_port = htons(port);
		return sizeof(*four);
	}
	if (inet_pton(AF_INET6, text, &six->sin6_addr) != 1)
		errx(2, "no address: %s", text);
	six->sin6_family = AF_INET6;
	six->sin6_port = htons(port);
	return sizeof(*six);
}

static int dial(const char *text, int port, int connections)
{
	struct sockaddr_storage address;
	socklen_t size = parse(text, port, &address);
	struct timespec begin, end;

	clock_gettime(CLOCK_MONOTONIC, &begin);
	for (int i = 0; i < connections; i++)
		if (!exchange((struct sockaddr *)&address, size))
			err(1, "connection %d to %s", i, text);
	clock_gettime(CLOCK_MONOTONIC, &end);
	printf("%.0f\n", ((end.tv_sec - begin.tv_sec) * 1e9 + (end.tv_nsec - begin.tv_nsec)) / connections);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "serve"))
		return serve(atoi(argv[2]));
	if (argc == 5 && !strcmp(argv[1], "dial"))
		return dial(argv[2], atoi(argv[3]), atoi(argv[4]));
	errx(2, "serve PORT | dial ADDRESS PORT CONNECTIONS");
}
