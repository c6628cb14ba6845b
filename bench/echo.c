/*
 * echo PORT THREADS [answer]: the physical limit of a DNS server over UDP on
 * loopback. Each thread has a socket with SO_REUSEPORT, receives up to 32
 * packets with one system call and sends them back with one more, marked as
 * replies and otherwise as they came.
 *
 * With "answer" each question of one record gets an A record with the address
 * 198.51.100.7 and a TTL of an hour: the cheapest upstream there is.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BATCH = 32, ROOM = 2048, HEADER = 12 };

struct lane {
	struct mmsghdr message[BATCH];
	struct iovec part[BATCH];
	struct sockaddr_in from[BATCH];
	unsigned char packet[BATCH][ROOM];
};

static int port, answers;

static int open_socket(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0), on = 1, room = 4 << 20;
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
	if (fd < 0 || bind(fd, (void *)&at, sizeof at)) {
		perror("echo: bind");
		exit(1);
	}
	return fd;
}

/* Returns where the question ends that begins behind the header, or 0. */
static size_t question_end(const unsigned char *p, size_t len)
{
	size_t at = HEADER;

	while (at < len && p[at] != 0) {
		if (p[at] > 63)
			return 0;
		at += 1 + p[at];
	}
	return at + 5 <= len ? at + 5 : 0;
}

/* Makes the query a reply, and returns its length. */
static size_t reply(unsigned char *p, size_t len)
{
	static const unsigned char record[] = {0xc0, HEADER, 0, 1, 0, 1, 0, 0, 0x0e, 0x10, 0, 4, 198, 51, 100, 7};
	size_t end;

	if (len < HEADER)
		return len;
	p[2] |= 0x80;                     /* QR */
	p[3] = (p[3] & 0x70) | 0x80;      /* RA, NOERROR */
	if (!answers || (end = question_end(p, len)) == 0)
		return len;
	memset(p + 6, 0, 6);              /* no sections behind the question, no OPT */
	if (p[end - 4] != 0 || p[end - 3] != 1)
		return end;               /* not of type A: no data */
	p[7] = 1;
	memcpy(p + end, record, sizeof record);
	return end + sizeof record;
}

static void *run(void *unused)
{
	struct lane *l = calloc(1, sizeof *l);
	int fd = open_socket();

	for (;;) {
		for (int i = 0; i < BATCH; i++) {
			l->part[i] = (struct iovec){l->packet[i], ROOM - 64};
			l->message[i].msg_hdr = (struct msghdr){
				.msg_name = &l->from[i], .msg_namelen = sizeof l->from[i],
				.msg_iov = &l->part[i], .msg_iovlen = 1};
		}
		int n = recvmmsg(fd, l->message, BATCH, MSG_WAITFORONE, NULL);
		for (int i = 0; i < n; i++)
			l->part[i].iov_len = reply(l->packet[i], l->message[i].msg_len);
		for (int sent = 0; sent < n;) {
			int k = sendmmsg(fd, l->message + sent, n - sent, 0);
			if (k <= 0)
				break;
			sent += k;
		}
	}
	return unused;
}

int main(int argc, char **argv)
{
	pthread_t thread;

	if (argc < 3) {
		fprintf(stderr, "usage: echo PORT THREADS [answer]\n");
		return 2;
	}
	port = atoi(argv[1]);
	answers = argc > 3;
	for (int i = 1; i < atoi(argv[2]); i++)
		pthread_create(&thread, NULL, run, NULL);
	run(NULL);
}
