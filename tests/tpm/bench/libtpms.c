/*
 * libtpms as a child process: `macadamia-tpm-bench` sends commands over standard input, and this program executes them
 * in process and measures them. The same is done with the engine in tpm/bench/src/measure.rs; what is inside and what
 * is outside of the clock must be the same in both.
 *
 * All numbers are 32-bit little-endian unless said otherwise. Requests:
 *   1, length, command                       -> length, response
 *   2, samples, batch, counter, steps, then for each step
 *      timed, counter_at, copies, then for each copy (step, source, target, length), length, command
 *                                            -> `samples` 64-bit nanoseconds per run, response code
 * A run executes all steps. Before each, parts of earlier responses are copied into the command, and the counter, which
 * goes up with every run, is written at counter_at unless that is all ones. A response code other than 0 ends the
 * measurement. If every step is timed, a sample is one look at the clock before and one after `batch` runs; otherwise
 * the timed steps are measured one by one.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <libtpms/tpm_error.h>
#include <libtpms/tpm_library.h>

#define MAX_STEPS 4
#define MAX_COPIES 2
#define MAX_BYTES 4096
#define NO_COUNTER 0xffffffffu

struct copy {
    uint32_t step, source, target, length;
};

struct step {
    uint32_t timed, counter_at, copies;
    struct copy copy[MAX_COPIES];
    uint32_t length;
    unsigned char command[MAX_BYTES];
    unsigned char *response;
    uint32_t response_length, response_room;
};

static struct step steps[MAX_STEPS];

static void fail(const char *what)
{
    fprintf(stderr, "libtpms: %s\n", what);
    exit(1);
}

static void get(void *to, size_t length)
{
    if (fread(to, 1, length, stdin) != length)
        exit(feof(stdin) ? 0 : 1);
}

static uint32_t get32(void)
{
    uint32_t value;
    get(&value, sizeof value);
    return value;
}

static void put(const void *from, size_t length)
{
    if (fwrite(from, 1, length, stdout) != length)
        fail("cannot write");
}

/* libtpms keeps its state in blobs with names; here they are in memory, as the engine's are in this comparison. */
static struct {
    char name[32];
    unsigned char *data;
    uint32_t length;
} blobs[8];

static int find(const char *name)
{
    for (int i = 0; i < 8; i++)
        if (blobs[i].data && !strcmp(blobs[i].name, name))
            return i;
    return -1;
}

static TPM_RESULT nvram_init(void)
{
    return TPM_SUCCESS;
}

static TPM_RESULT nvram_load(unsigned char **data, uint32_t *length, uint32_t number, const char *name)
{
    int i = find(name);
    (void)number;
    if (i < 0)
        return TPM_RETRY; /* there is none */
    *data = malloc(blobs[i].length);
    if (!*data)
        return TPM_FAIL;
    memcpy(*data, blobs[i].data, blobs[i].length);
    *length = blobs[i].length;
    return TPM_SUCCESS;
}

static TPM_RESULT nvram_store(const unsigned char *data, uint32_t length, uint32_t number, const char *name)
{
    int i = find(name);
    (void)number;
    if (i < 0) {
        for (i = 0; i < 8 && blobs[i].data; i++)
            ;
        if (i == 8 || strlen(name) >= sizeof blobs[i].name)
            return TPM_FAIL;
        strcpy(blobs[i].name, name);
    }
    if (!blobs[i].data || blobs[i].length != length) {
        free(blobs[i].data);
        blobs[i].data = malloc(length);
        if (!blobs[i].data)
            return TPM_FAIL;
    }
    memcpy(blobs[i].data, data, length);
    blobs[i].length = length;
    return TPM_SUCCESS;
}

static TPM_RESULT nvram_delete(uint32_t number, const char *name, TPM_BOOL must_exist)
{
    int i = find(name);
    (void)number;
    if (i < 0)
        return must_exist ? TPM_FAIL : TPM_SUCCESS;
    free(blobs[i].data);
    blobs[i].data = NULL;
    return TPM_SUCCESS;
}

static TPM_RESULT io_init(void)
{
    return TPM_SUCCESS;
}

static TPM_RESULT locality(TPM_MODIFIER_INDICATOR *value, uint32_t number)
{
    (void)number;
    *value = 0;
    return TPM_SUCCESS;
}

static TPM_RESULT physical_presence(TPM_BOOL *value, uint32_t number)
{
    (void)number;
    *value = 0;
    return TPM_SUCCESS;
}

static uint64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void execute(struct step *step)
{
    if (TPMLIB_Process(&step->response, &step->response_length, &step->response_room, step->command, step->length)
        || step->response_length < 10)
        fail("TPMLIB_Process failed");
}

static uint32_t response_code(const struct step *step)
{
    const unsigned char *at = step->response + 6;
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void prepare(struct step *step, uint32_t counter)
{
    for (uint32_t i = 0; i < step->copies; i++) {
        const struct copy *copy = &step->copy[i];
        const struct step *from = &steps[copy->step];
        if (copy->source + copy->length > from->response_length || copy->target + copy->length > step->length)
            fail("a copy outside of its response or command");
        memcpy(step->command + copy->target, from->response + copy->source, copy->length);
    }
    if (step->counter_at != NO_COUNTER)
        for (int i = 0; i < 4; i++)
            step->command[step->counter_at + i] = (unsigned char)(counter >> (24 - 8 * i));
}

static void answer_one(void)
{
    static struct step step;
    step.length = get32();
    if (step.length > MAX_BYTES)
        fail("a command too long");
    get(step.command, step.length);
    execute(&step);
    put(&step.response_length, sizeof step.response_length);
    put(step.response, step.response_length);
}

static void measure(void)
{
    uint32_t samples = get32(), batch = get32(), counter = get32(), count = get32(), all_timed = 1, code = 0;
    if (count > MAX_STEPS)
        fail("too many steps");
    for (uint32_t i = 0; i < count; i++) {
        struct step *step = &steps[i];
        step->timed = get32();
        all_timed &= step->timed;
        step->counter_at = get32();
        step->copies = get32();
        if (step->copies > MAX_COPIES)
            fail("too many copies");
        for (uint32_t j = 0; j < step->copies; j++)
            get(&step->copy[j], sizeof step->copy[j]);
        step->length = get32();
        if (step->length > MAX_BYTES)
            fail("a command too long");
        get(step->command, step->length);
    }
    for (uint32_t sample = 0; sample < samples; sample++) {
        uint64_t spent = 0, began = now();
        for (uint32_t run = 0; run < batch; run++, counter++) {
            for (uint32_t i = 0; i < count && !code; i++) {
                struct step *step = &steps[i];
                prepare(step, counter);
                if (!all_timed)
                    began = now();
                execute(step);
                if (!all_timed && step->timed)
                    spent += now() - began;
                code = response_code(step);
            }
        }
        if (all_timed)
            spent = now() - began;
        spent /= batch;
        put(&spent, sizeof spent);
    }
    put(&code, sizeof code);
}

int main(void)
{
    struct libtpms_callbacks callbacks = {
        .sizeOfStruct = sizeof callbacks,
        .tpm_nvram_init = nvram_init,
        .tpm_nvram_loaddata = nvram_load,
        .tpm_nvram_storedata = nvram_store,
        .tpm_nvram_deletename = nvram_delete,
        .tpm_io_init = io_init,
        .tpm_io_getlocality = locality,
        .tpm_io_getphysicalpresence = physical_presence,
    };
    if (TPMLIB_RegisterCallbacks(&callbacks) || TPMLIB_ChooseTPMVersion(TPMLIB_TPM_VERSION_2) || TPMLIB_MainInit())
        fail("cannot start");
    for (;;) {
        switch (get32()) {
        case 1:
            answer_one();
            break;
        case 2:
            measure();
            break;
        default:
            fail("an unknown request");
        }
        fflush(stdout);
    }
}
