/* What schedules and operator functions share: the same text in every generated header. */
#ifndef PLANNER_RUNTIME_VERSION
#define PLANNER_RUNTIME_VERSION 1

/* Element types, numbered as in ONNX. */
enum {
    PLANNER_FLOAT32 = 1,
    PLANNER_UINT8 = 2,
    PLANNER_INT8 = 3,
    PLANNER_UINT16 = 4,
    PLANNER_INT16 = 5,
    PLANNER_INT32 = 6,
    PLANNER_INT64 = 7,
    PLANNER_STRING = 8,
    PLANNER_BOOL = 9,
    PLANNER_FLOAT16 = 10,
    PLANNER_FLOAT64 = 11,
    PLANNER_UINT32 = 12,
    PLANNER_UINT64 = 13,
    PLANNER_COMPLEX64 = 14,
    PLANNER_COMPLEX128 = 15,
    PLANNER_BFLOAT16 = 16,
    PLANNER_FLOAT8E4M3FN = 17,
    PLANNER_FLOAT8E4M3FNUZ = 18,
    PLANNER_FLOAT8E5M2 = 19,
    PLANNER_FLOAT8E5M2FNUZ = 20,
    PLANNER_UINT4 = 21,
    PLANNER_INT4 = 22,
    PLANNER_FLOAT4E2M1 = 23,
    PLANNER_FLOAT8E8M0 = 24,
    PLANNER_UINT2 = 25,
    PLANNER_INT2 = 26,
    PLANNER_FLOAT6E2M3 = 27,
    PLANNER_FLOAT6E3M2 = 28,
    PLANNER_OTHER_TYPE = 0
};

typedef struct planner_tensor {
    const char *name;
    size_t bytes;
    unsigned type; /* PLANNER_FLOAT32, ... */
    unsigned rank;
    const size_t *shape; /* rank dimensions; NULL for a scalar */
} planner_tensor;

/* One of the three pointers is set: to count values. */
typedef struct planner_attribute {
    const char *name;
    size_t count;
    const int64_t *integers;
    const float *reals;
    const char *const *texts;
} planner_attribute;

/* An operator of the model. Tensors are in the order of the ONNX node, NULL where one is omitted. */
typedef struct planner_node {
    const char *name;
    const char *type;
    unsigned opset;    /* version of the operator set that it was written for */
    size_t operator_index; /* in the model */
    size_t input_count;
    size_t output_count;
    const planner_tensor *const *inputs;
    const planner_tensor *const *outputs;
    size_t attribute_count;
    const planner_attribute *attributes;
    size_t workspace_bytes;
} planner_node;

/* A node with the addresses of its tensors: NULL where one is omitted or has no bytes. An output
 * may have the address of an input: the plan lets it overwrite an operand that nobody needs any
 * more, element by element, or the two are the same bytes under two names. */
typedef struct planner_call {
    const planner_node *node;
    const void *const *inputs;
    void *const *outputs;
    void *workspace; /* node->workspace_bytes of scratch memory, NULL for none */
    void *user;      /* that of the instance */
} planner_call;

/* Computes one node. Anything but 0 ends the run, which returns it. */
typedef int planner_function(const planner_call *call);

/* A copy between two memories. Source and destination do not overlap. */
typedef struct planner_copy {
    size_t number; /* of the copy in this schedule, from 0 */
    unsigned source_memory;
    unsigned destination_memory;
    const void *source;
    void *destination;
    size_t bytes;
} planner_copy;

/* Returned by a run that has not begun: an arena is missing or not aligned. */
enum { PLANNER_BAD_ARENA = -1 };

/* PLANNER_ALIGNED(64) static uint8_t arena[...]; */
#ifndef PLANNER_ALIGNED
#if defined(__GNUC__)
#define PLANNER_ALIGNED(bytes) __attribute__((aligned(bytes)))
#elif defined(_MSC_VER)
#define PLANNER_ALIGNED(bytes) __declspec(align(bytes))
#elif defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L
#define PLANNER_ALIGNED(bytes) _Alignas(bytes)
#endif
#endif

/* The attribute of that name; NULL if the node does not have it. */
static inline const planner_attribute *planner_attribute_of(const planner_node *node,
                                                            const char *name)
{
    size_t at, i;
    for (at = 0; at < node->attribute_count; at++) {
        const char *other = node->attributes[at].name;
        for (i = 0; name[i] != '\0' && name[i] == other[i]; i++) {
        }
        if (name[i] == other[i]) {
            return &node->attributes[at];
        }
    }
    return NULL;
}

/* Value number at of an integer attribute; the default where the node does not have it. */
static inline int64_t planner_integer(const planner_node *node, const char *name, size_t at,
                                      int64_t otherwise)
{
    const planner_attribute *found = planner_attribute_of(node, name);
    return found != NULL && found->integers != NULL && at < found->count ? found->integers[at]
                                                                         : otherwise;
}

/* Value number at of a real attribute; the default where the node does not have it. */
static inline float planner_real(const planner_node *node, const char *name, size_t at,
                                 float otherwise)
{
    const planner_attribute *found = planner_attribute_of(node, name);
    return found != NULL && found->reals != NULL && at < found->count ? found->reals[at]
                                                                      : otherwise;
}

#elif PLANNER_RUNTIME_VERSION != 1
#error "headers of different versions of the planner: export all models with the same one"
#endif
