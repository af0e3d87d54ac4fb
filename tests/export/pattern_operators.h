/* Operators that write bytes which depend on all the bytes they read, and what runs them. */
#define _POSIX_C_SOURCE 200112L
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void require(int holds)
{
    if (!holds) {
        abort();
    }
}

/* A sanitizer watches the bytes behind it. */
static void *exact_block(size_t bytes, size_t alignment)
{
    void *block = NULL;
    require(posix_memalign(&block, alignment < sizeof(void *) ? sizeof(void *) : alignment,
                           bytes) == 0);
    memset(block, 0x5A, bytes);
    return block;
}

static void fill(void *bytes, size_t count, unsigned tensor)
{
    size_t at;
    for (at = 0; bytes != NULL && at < count; at++) {
        ((unsigned char *)bytes)[at] = (unsigned char)(tensor * 37 + at * 11 + 5);
    }
}

static inline void *filled_block(size_t bytes, unsigned tensor)
{
    void *block = exact_block(bytes, 1);
    fill(block, bytes, tensor);
    return block;
}

static uint32_t hashed(const void *bytes, size_t count, uint32_t seed)
{
    size_t at;
    for (at = 0; at < count; at++) {
        seed = (seed ^ ((const unsigned char *)bytes)[at]) * 16777619u;
    }
    return seed;
}

static inline void print_output(const void *bytes, size_t count)
{
    if (bytes == NULL) {
        printf("output nowhere\n");
    } else {
        printf("output %08lx\n", (unsigned long)hashed(bytes, count, 7));
    }
}

static inline int pattern(const planner_call *call)
{
    const planner_node *node = call->node;
    uint32_t value = 2166136261u ^ (uint32_t)node->operator_index;
    size_t i, at;
    for (i = 0; i < node->input_count; i++) {
        size_t bytes = node->inputs[i] == NULL ? 0 : node->inputs[i]->bytes;
        require((call->inputs[i] == NULL) == (bytes == 0));
        value = hashed(call->inputs[i], bytes, value + 1);
    }
    printf("%lu %08lx\n", (unsigned long)node->operator_index, (unsigned long)value);
    require((call->workspace == NULL) == (node->workspace_bytes == 0));
    for (at = 0; at < node->workspace_bytes; at++) {
        ((unsigned char *)call->workspace)[at] = 0xEE;
    }
    for (i = 0; i < node->output_count; i++) {
        for (at = 0; at < node->outputs[i]->bytes; at++) {
            ((unsigned char *)call->outputs[i])[at] =
                (unsigned char)((value >> ((at + i) % 4 * 8)) + at * 31 + i * 17);
        }
    }
    return 0;
}

/* As late as a copy may happen. */
static inline void late_begin(void *user, const planner_copy *copy)
{
    (void)user;
    memset(copy->destination, 0x3C, copy->bytes);
}

static inline void late_end(void *user, const planner_copy *copy)
{
    (void)user;
    memcpy(copy->destination, copy->source, copy->bytes);
}

/* As early as it may happen; neither end changes until it has arrived. */
static inline void early_begin(void *user, const planner_copy *copy)
{
    (void)user;
    memcpy(copy->destination, copy->source, copy->bytes);
}

static inline void early_end(void *user, const planner_copy *copy)
{
    (void)user;
    require(memcmp(copy->destination, copy->source, copy->bytes) == 0);
}
