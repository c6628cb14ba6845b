/*
 * blast [-r RATE] [-n QUERIES] [-t SECONDS] [-s SOCKETS] [-o OUTSTANDING] [-w MS]
 *       [-a SERVER] [-b SOURCE]... [-c CLIENTS] PORT FILE
 *
 * A load generator for DNS over UDP that costs less a query than
 * dnsperf, by sendmmsg and recvmmsg, so that one core can saturate a fast
 * server. FILE is dnsperf's: a name and a type a line; it is repeated.
 *
 * Without -r as many queries are kept outstanding as -o says (closed loop);
 * with it, RATE queries a second are sent at even distances, come what may.
 * SERVER is 127.0.0.1 unless said otherwise; the sockets are bound to the SOURCEs
 * in turn. With -c each
 * query is from the next of so many addresses from 127.1.0.0 on, whatever its
 * socket. An answer is in time when it comes within MS (1000) milliseconds.
 * It ends after SECONDS or QUERIES, and prints one line of JSON. Latency is the
 * time from before a query is sent to the kernel's stamp on its reply, so that
 * this program's own delays in reading are not in it.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 32, SOCKETS = 64, SOURCES = 64, QUERY = 12 + 255 + 4, REPLY = 2048, PATIENCE_MS = 500 };

/* Latencies: 64 steps to each power of two of nanoseconds. */
enum { STEPS = 64, BUCKETS = 64 * STEPS };

struct lane {
	int fd;
	int waiting;           /* sent, neither answered nor given up */
	uint16_t id;           /* of the next query */
	int64_t heard;         /* when something last came or was given up, ns */
	int64_t sent[1 << 16]; /* by id, 0: not waiting */
};

static uint8_t *queries; /* a byte of length and the packet, one behind the other */
static uint32_t *query_at;
static size_t query_count, next_query;

static struct lane *lanes[SOCKETS];
static int lane_count = 8, outstanding = 512, source_count, clients, next_client;
static struct sockaddr_in to;
static struct in_addr server, sources[SOURCES];
static double rate, seconds = 3600, in_time_ms = 1000;
static uint64_t limit = UINT64_MAX;

static uint64_t sent, received, in_time, truncated, lost, stray, rcodes[16], latency[BUCKETS], slowest;

static void die(const char *what)
{
	fprintf(stderr, "blast: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* The wall clock, since the kernel stamps packets by it. */
static int64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int type_of(const char *s)
{
	if (!strcasecmp(s, "A"))
		return 1;
	if (!strcasecmp(s, "AAAA"))
		return 28;
	if (!strcasecmp(s, "HTTPS"))
		return 65;
	return 0;
}

/* Writes the query for name to p, and returns its length, or 0. */
static size_t make_query(uint8_t *p, const char *name, int type)
{
	uint8_t *at = p + 12;

	memset(p, 0, 12);
	p[2] = 1; /* RD */
	p[5] = 1; /* one question */
	while (*name) {
		size_t n = strcspn(name, ".");
		if (n == 0 || n > 63 || at + n + 6 > p + QUERY - 8)
			return 0;
		*at++ = n;
		memcpy(at, name, n);
		at += n;
		name += n + (name[n] == '.');
	}
	*at++ = 0;
	*at++ = 0;
	*at++ = type;
	*at++ = 0;
	*at++ = 1;
	return at - p;
}

static void read_queries(const char *path)
{
	FILE *in = fopen(path, "r");
	char name[512], type[16], line[600];
	size_t bytes = 0, room = 0, count_room = 0;

	if (!in)
		die(path);
	while (fgets(line, sizeof line, in)) {
		if (sscanf(line, "%511s %15s", name, type) != 2)
			continue;
		if (bytes + 2 + QUERY > room && !(queries = realloc(queries, room = room * 2 + (1 << 20))))
			die("memory");
		if (query_count == count_room && !(query_at = realloc(query_at, (count_room = count_room * 2 + 1024) * sizeof *query_at)))
			die("memory");
		size_t n = make_query(queries + bytes + 2, name, type_of(type));
		if (n == 0)
			continue;
		queries[bytes] = n >> 8;
		queries[bytes + 1] = n;
		query_at[query_count++] = bytes;
		bytes += 2 + n;
	}
	fclose(in);
	if (query_count == 0) {
		fprintf(stderr, "blast: %s has no queries\n", path);
		exit(1);
	}
}

static struct lane *open_lane(int number)
{
	struct lane *l = calloc(1, sizeof *l);
	struct sockaddr_in from = {.sin_family = AF_INET};
	int room = 4 << 20, on = 1;

	l->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	setsockopt(l->fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
	setsockopt(l->fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
	if (source_count > 0) {
		from.sin_addr = sources[number % source_count];
		if (bind(l->fd, (void *)&from, sizeof from))
			die("bind");
	}
	if (clients == 0 && connect(l->fd, (void *)&to, sizeof to))
		die("connect");
	return l;
}

/* Lets the message come from the next client's address. */
static void from_next_client(struct msghdr *m, void *control, size_t room)
{
	struct in_pktinfo info = {.ipi_spec_dst.s_addr = htonl((127 << 24 | 1 << 16) + next_client)};

	next_client = (next_client + 1) % clients;
	m->msg_name = &to;
	m->msg_namelen = sizeof to;
	m->msg_control = control;
	m->msg_controllen = room;
	struct cmsghdr *c = CMSG_FIRSTHDR(m);
	c->cmsg_level = IPPROTO_IP;
	c->cmsg_type = IP_PKTINFO;
	c->cmsg_len = CMSG_LEN(sizeof info);
	memcpy(CMSG_DATA(c), &info, sizeof info);
}

/* Sends n queries of the file. Returns how many the kernel took. */
static int send_some(struct lane *l, int n)
{
	static uint8_t packet[BATCH][QUERY];
	static struct iovec part[BATCH];
	static struct mmsghdr message[BATCH];
	static union { /* aligned */
		char room[CMSG_SPACE(sizeof(struct in_pktinfo))];
		struct cmsghdr head;
	} control[BATCH];
	int64_t at = now();

	for (int i = 0; i < n; i++) {
		const uint8_t *q = queries + query_at[(next_query + i) % query_count];
		uint16_t id = l->id + i;
		size_t len = q[0] << 8 | q[1];

		memcpy(packet[i], q + 2, len);
		packet[i][0] = id >> 8;
		packet[i][1] = id;
		part[i] = (struct iovec){packet[i], len};
		message[i].msg_hdr = (struct msghdr){.msg_iov = &part[i], .msg_iovlen = 1};
		if (clients > 0)
			from_next_client(&message[i].msg_hdr, &control[i], sizeof control[i].room);
	}
	n = sendmmsg(l->fd, message, n, 0);
	if (n <= 0)
		return 0;
	if (l->waiting == 0)
		l->heard = at;
	for (int i = 0; i < n; i++) {
		if (l->sent[l->id] != 0) { /* a whole round of ids ago */
			lost++;
			l->waiting--;
		}
		l->sent[l->id++] = at;
	}
	next_query = (next_query + n) % query_count;
	l->waiting += n;
	sent += n;
	return n;
}

static void count_latency(int64_t ns)
{
	uint64_t v = ns < 1 ? 1 : ns;
	int power = 63 - __builtin_clzll(v);
	int step = power < 6 ? (v << (6 - power)) & (STEPS - 1) : (v >> (power - 6)) & (STEPS - 1);

	latency[power * STEPS + step]++;
	if (v > slowest)
		slowest = v;
}

/* In nanoseconds, the upper end of the bucket. */
static double percentile(double share)
{
	uint64_t want = share * received, have = 0;

	for (int i = 0; i < BUCKETS; i++)
		if ((have += latency[i]) > want)
			return (double)(1ULL << (i / STEPS)) * (1 + (i % STEPS + 1) / (double)STEPS);
	return slowest;
}

static int64_t stamp(struct msghdr *m, int64_t otherwise)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_TIMESTAMPNS) {
			struct timespec t;
			memcpy(&t, CMSG_DATA(c), sizeof t);
			return t.tv_sec * 1000000000LL + t.tv_nsec;
		}
	return otherwise;
}

/* Takes what has come, and returns how much. */
static int receive_some(struct lane *l)
{
	static uint8_t packet[BATCH][REPLY];
	static char control[BATCH][64];
	static struct iovec part[BATCH];
	static struct mmsghdr message[BATCH];

	for (int i = 0; i < BATCH; i++) {
		part[i] = (struct iovec){packet[i], REPLY};
		message[i].msg_hdr = (struct msghdr){
			.msg_iov = &part[i], .msg_iovlen = 1, .msg_control = control[i], .msg_controllen = sizeof control[i]};
	}
	int n = recvmmsg(l->fd, message, BATCH, MSG_DONTWAIT, NULL);
	if (n <= 0)
		return 0;
	int64_t at = now();
	for (int i = 0; i < n; i++) {
		uint16_t id = packet[i][0] << 8 | packet[i][1];
		if (message[i].msg_len < 12 || l->sent[id] == 0) {
			stray++;
			continue;
		}
		int64_t took = stamp(&message[i].msg_hdr, at) - l->sent[id];
		count_latency(took);
		in_time += took <= in_time_ms * 1e6;
		truncated += packet[i][2] >> 1 & 1;
		l->sent[id] = 0;
		l->waiting--;
		received++;
		rcodes[packet[i][3] & 15]++;
	}
	l->heard = at;
	return n;
}

static void give_up(struct lane *l, int64_t at)
{
	lost += l->waiting;
	l->waiting = 0;
	l->heard = at;
	memset(l->sent, 0, sizeof l->sent);
}

/* Keeps as many queries outstanding as there may be. */
static void closed_loop(int64_t until)
{
	int each = outstanding / lane_count, least = each < 8 ? 1 : each / 4;
	struct pollfd waits[SOCKETS];
	int64_t at = now();

	for (int i = 0; i < lane_count; i++)
		waits[i] = (struct pollfd){.fd = lanes[i]->fd, .events = POLLIN};
	for (uint64_t rounds = 0; at < until && sent < limit; rounds++) {
		int busy = 0;
		for (int i = 0; i < lane_count; i++) {
			struct lane *l = lanes[i];
			busy += receive_some(l);
			int n = each - l->waiting < BATCH ? each - l->waiting : BATCH;
			if (n >= least) {
				if ((uint64_t)n > limit - sent)
					n = limit - sent;
				busy += n > 0 ? send_some(l, n) : 0;
			}
			if (l->waiting > 0 && at - l->heard > PATIENCE_MS * 1000000LL)
				give_up(l, at);
		}
		if (!busy)
			poll(waits, lane_count, 2);
		if (!busy || rounds % 16 == 0)
			at = now();
	}
}

static void sleep_until(int64_t at)
{
	struct timespec t = {at / 1000000000, at % 1000000000};

	clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &t, NULL);
}

/* Sends what is due, and reads between. */
static void open_loop(int64_t start, int64_t until)
{
	uint64_t due = 0;

	prctl(PR_SET_TIMERSLACK, 1);
	for (int64_t at = start; at < until && sent < limit; at = now()) {
		due = (at - start) / 1e9 * rate;
		if (due > limit)
			due = limit;
		for (int i = 0; sent < due && i < lane_count; i++) {
			int each = (due - sent + lane_count - 1) / lane_count;
			send_some(lanes[(sent + i) % lane_count], each < BATCH ? each : BATCH);
		}
		for (int i = 0; i < lane_count; i++)
			while (lanes[i]->waiting > 0 && receive_some(lanes[i]) == BATCH)
				;
		sleep_until(start + (sent + 1) * (1e9 / rate));
	}
}

/* Reads what is still on its way. */
static void drain(void)
{
	int64_t last = now() + PATIENCE_MS * 1000000LL;
	int waiting = 1;

	while (waiting > 0 && now() < last) {
		waiting = 0;
		for (int i = 0; i < lane_count; i++) {
			receive_some(lanes[i]);
			waiting += lanes[i]->waiting;
		}
		usleep(200);
	}
	for (int i = 0; i < lane_count; i++)
		give_up(lanes[i], last);
}

static struct in_addr address(const char *text)
{
	struct in_addr a;

	if (inet_pton(AF_INET, text, &a) != 1) {
		fprintf(stderr, "blast: %s is no IPv4 address\n", text);
		exit(2);
	}
	return a;
}

int main(int argc, char **argv)
{
	struct rusage used;
	int64_t start, took;

	server.s_addr = htonl(INADDR_LOOPBACK);
	for (int c; (c = getopt(argc, argv, "r:n:t:s:o:w:a:b:c:")) != -1;) {
		switch (c) {
		case 'r': rate = atof(optarg); break;
		case 'n': limit = strtoull(optarg, NULL, 10); break;
		case 't': seconds = atof(optarg); break;
		case 's': lane_count = atoi(optarg); break;
		case 'o': outstanding = atoi(optarg); break;
		case 'w': in_time_ms = atof(optarg); break;
		case 'c': clients = atoi(optarg); break;
		case 'a': server = address(optarg); break;
		case 'b':
			if (source_count == SOURCES)
				return 2;
			sources[source_count++] = address(optarg);
			break;
		default: return 2;
		}
	}
	if (argc - optind != 2 || lane_count < 1 || lane_count > SOCKETS || outstanding < lane_count || outstanding > 65535 ||
	    clients < 0 || clients > 1 << 23) {
		fprintf(stderr, "usage: blast [-r RATE] [-n QUERIES] [-t SECONDS] [-s SOCKETS] [-o OUTSTANDING] [-w MS] [-a SERVER] [-b SOURCE]... [-c CLIENTS] PORT FILE\n");
		return 2;
	}
	to = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(atoi(argv[optind])), .sin_addr = server};
	read_queries(argv[optind + 1]);
	for (int i = 0; i < lane_count; i++)
		lanes[i] = open_lane(i);

	start = now();
	if (rate > 0)
		open_loop(start, start + seconds * 1e9);
	else
		closed_loop(start + seconds * 1e9);
	took = now() - start;
	drain();

	getrusage(RUSAGE_SELF, &used);
	printf("{\"seconds\":%.3f,\"sent\":%llu,\"received\":%llu,\"in_time\":%llu,\"truncated\":%llu,\"lost\":%llu,\"stray\":%llu,"
	       "\"noerror\":%llu,\"servfail\":%llu,\"nxdomain\":%llu,\"refused\":%llu,"
	       "\"p50_us\":%.1f,\"p90_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f,\"max_us\":%.1f,\"cpu_seconds\":%.3f}\n",
	       took / 1e9, (unsigned long long)sent, (unsigned long long)received, (unsigned long long)in_time,
	       (unsigned long long)truncated, (unsigned long long)lost, (unsigned long long)stray,
	       (unsigned long long)rcodes[0], (unsigned long long)rcodes[2], (unsigned long long)rcodes[3], (unsigned long long)rcodes[5],
	       percentile(.5) / 1e3, percentile(.9) / 1e3, percentile(.99) / 1e3, percentile(.999) / 1e3, slowest / 1e3,
	       used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6);
}
