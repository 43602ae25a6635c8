// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * TPM2_PCR_Extend again and again through a TPM device, as a program of the guest's sees it: a write and a read each. Prints
 * the time of a command in nanoseconds: least, median, greatest. A program of its own, because a shell's forks would cost
 * more than the commands.
 *
 * tpm-time DEVICE COUNT
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* PCR 16, empty password, one digest for the SHA-256 bank (TPM Library, Part 3, 22.2). */
static const unsigned char head[] = {
	0x80, 0x02, 0, 0, 0, 65, 0, 0, 0x01, 0x82,
	0, 0, 0, 16,
	0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0,
	0, 0, 0, 1, 0, 0x0b,
};

static long long now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static int ascending(const void *a, const void *b)
{
	long long x = *(const long long *)a, y = *(const long long *)b;

	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	unsigned char command[65] = { 0 }, response[64];
	int device, count = argc == 3 ? atoi(argv[2]) : 0;
	long long *times;

	if (count < 1 || !(times = calloc(count, sizeof(*times))))
		return 2;
	for (unsigned int i = 0; i < sizeof(head); i++)
		command[i] = head[i];
	device = open(argv[1], O_RDWR);
	if (device < 0) {
		perror(argv[1]);
		return 1;
	}
	for (int i = 0; i < count; i++) {
		long long start = now();
		ssize_t got;

		if (write(device, command, sizeof(command)) != sizeof(command)) {
			perror("write");
			return 1;
		}
		got = read(device, response, sizeof(response));
		times[i] = now() - start;
		/* The response code is zero. */
		if (got < 10 || response[6] | response[7] | response[8] | response[9]) {
			fprintf(stderr, "command %d: not a success, %zd bytes\n", i, got);
			return 1;
		}
	}
	qsort(times, count, sizeof(*times), ascending);
	printf("macadamia: bench: PCR_Extend %d times: %lld %lld %lld ns\n", count,
	       times[0], times[count / 2], times[count - 1]);
	return 0;
}
