/*
 * Sends datagrams to a UDP port of 127.0.0.1 as fast as asked: what a stranger can do to a knock server.
 *
 *   flood garbage PORT RATE COUNT          from one socket, every byte random
 *   flood forged PORT RATE COUNT KEYID     each from another forged source address, behind a sniffed key id (16 hex)
 *
 * RATE is datagrams per second, 0 for no limit. All are 94 bytes, the length of a knock. Prints the number sent
 * and the seconds it took.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum {
  PACKET_BYTES = 94,
  KEY_ID_BYTES = 8,
  HEADER_BYTES = sizeof(struct iphdr) + sizeof(struct udphdr),
  BATCH = 16,
  NS_PER_SECOND = 1000000000,
};

static uint64_t random_state;

static uint64_t next_random(void) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return random_state;
}

static void fill_random(uint8_t *bytes, size_t length) {
  for (size_t at = 0; at < length; at += sizeof(uint64_t)) {
    uint64_t word = next_random();
    size_t left = length - at;
    memcpy(bytes + at, &word, left < sizeof word ? left : sizeof word);
  }
}

/* Any unicast address that is not this host's own. */
static uint32_t random_source(void) {
  for (;;) {
    uint32_t address = (uint32_t)next_random();
    uint8_t first = address >> 24;
    if (first >= 1 && first < 224 && first != 10 && first != 127) return htonl(address);
  }
}

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static void fill_headers(uint8_t *datagram, uint16_t port) {
  struct iphdr ip = {
    .version = 4,
    .ihl = sizeof(struct iphdr) / 4,
    .ttl = 64,
    .protocol = IPPROTO_UDP,
    .saddr = random_source(),
    .daddr = htonl(INADDR_LOOPBACK),
    .tot_len = htons(HEADER_BYTES + PACKET_BYTES),
  };
  struct udphdr udp = {
    .source = htons(1024 + next_random() % 60000),
    .dest = htons(port),
    .len = htons(sizeof(struct udphdr) + PACKET_BYTES),
    .check = 0, /* none, as IPv4 allows; the kernel fills in the header's own */
  };
  memcpy(datagram, &ip, sizeof ip);
  memcpy(datagram + sizeof ip, &udp, sizeof udp);
}

static void wait_until(const struct timespec *start, double seconds) {
  struct timespec due = *start;
  due.tv_sec += (time_t)seconds;
  due.tv_nsec += (long)((seconds - (time_t)seconds) * NS_PER_SECOND);
  if (due.tv_nsec >= NS_PER_SECOND) {
    due.tv_sec++;
    due.tv_nsec -= NS_PER_SECOND;
  }
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL) == EINTR) {}
}

int main(int argc, char **argv) {
  int forged = argc == 6 && strcmp(argv[1], "forged") == 0;
  if (!forged && !(argc == 5 && strcmp(argv[1], "garbage") == 0)) {
    fprintf(stderr, "usage: flood garbage PORT RATE COUNT | flood forged PORT RATE COUNT KEYID\n");
    return 2;
  }
  uint16_t port = (uint16_t)atoi(argv[2]);
  double rate = atof(argv[3]);
  long count = atol(argv[4]);
  uint64_t key_id = forged ? htobe64(strtoull(argv[5], NULL, 16)) : 0;
  struct timespec start;
  clock_gettime(CLOCK_MONOTONIC, &start);
  random_state = (uint64_t)start.tv_nsec << 20 | 1;

  int fd = forged ? socket(AF_INET, SOCK_RAW, IPPROTO_RAW) : socket(AF_INET, SOCK_DGRAM, 0);
  if (fd < 0) fail("socket");
  struct sockaddr_in target = { .sin_family = AF_INET, .sin_port = htons(port) };
  target.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

  size_t offset = forged ? HEADER_BYTES : 0;
  static uint8_t datagrams[BATCH][HEADER_BYTES + PACKET_BYTES];
  struct iovec vectors[BATCH];
  struct mmsghdr messages[BATCH];
  memset(messages, 0, sizeof messages);
  for (int i = 0; i < BATCH; i++) {
    vectors[i] = (struct iovec){ datagrams[i], offset + PACKET_BYTES };
    messages[i].msg_hdr = (struct msghdr){
      .msg_name = &target, .msg_namelen = sizeof target, .msg_iov = &vectors[i], .msg_iovlen = 1,
    };
  }

  long sent = 0;
  while (sent < count) {
    int batch = count - sent < BATCH ? (int)(count - sent) : BATCH;
    for (int i = 0; i < batch; i++) {
      if (forged) fill_headers(datagrams[i], port);
      fill_random(datagrams[i] + offset, PACKET_BYTES);
      if (forged) memcpy(datagrams[i] + offset, &key_id, KEY_ID_BYTES);
    }
    if (rate > 0) wait_until(&start, (double)sent / rate);
    int done = sendmmsg(fd, messages, batch, 0);
    if (done < 0 && errno != ENOBUFS && errno != EAGAIN && errno != ECONNREFUSED) fail("sendmmsg");
    if (done > 0) sent += done;
  }
  struct timespec end;
  clock_gettime(CLOCK_MONOTONIC, &end);
  double seconds = (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) / NS_PER_SECOND;
  printf("%ld %.3f\n", sent, seconds);
  return 0;
}
