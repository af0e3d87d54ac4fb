/* Operators on float32 in the plainest way: N x C x H x W. Include the exported header first. */
#include <math.h>

static size_t dimension(const planner_tensor *tensor, size_t axis)
{
    return tensor->shape[axis];
}

static size_t elements(const planner_tensor *tensor)
{
    return tensor->bytes / sizeof(float);
}

static size_t option(const planner_call *call, const char *name, size_t at, size_t otherwise)
{
    return (size_t)planner_integer(call->node, name, at, (int64_t)otherwise);
}

/* Where tap k of a window at output o reads; -1 in the padding. */
static long tap(const planner_call *call, size_t axis, size_t o, size_t k, size_t size)
{
    long at = (long)(o * option(call, "strides", axis, 1) + k * option(call, "dilations", axis, 1))
              - (long)option(call, "pads", axis, 0);
    return at < (long)size ? at : -1;
}

static inline int conv(const planner_call *call)
{
    const planner_tensor *x = call->node->inputs[0], *w = call->node->inputs[1];
    const planner_tensor *y = call->node->outputs[0];
    const float *in = (const float *)call->inputs[0], *weight = (const float *)call->inputs[1];
    const float *bias = call->node->input_count > 2 ? (const float *)call->inputs[2] : NULL;
    float *out = (float *)call->outputs[0];
    size_t groups = option(call, "group", 0, 1), per_group = dimension(w, 1);
    size_t n, m, c, i, j, k, l;
    for (n = 0; n < dimension(y, 0); n++) {
        for (m = 0; m < dimension(y, 1); m++) {
            size_t first = m / (dimension(y, 1) / groups) * per_group;
            for (i = 0; i < dimension(y, 2); i++) {
                for (j = 0; j < dimension(y, 3); j++) {
                    float sum = bias == NULL ? 0.0f : bias[m];
                    for (c = 0; c < per_group; c++) {
                        for (k = 0; k < dimension(w, 2); k++) {
                            for (l = 0; l < dimension(w, 3); l++) {
                                long a = tap(call, 0, i, k, dimension(x, 2));
                                long b = tap(call, 1, j, l, dimension(x, 3));
                                size_t plane = n * dimension(x, 1) + first + c;
                                if (a >= 0 && b >= 0) {
                                    sum += in[(plane * dimension(x, 2) + (size_t)a)
                                                  * dimension(x, 3)
                                              + (size_t)b]
                                           * weight[((m * per_group + c) * dimension(w, 2) + k)
                                                        * dimension(w, 3)
                                                    + l];
                                }
                            }
                        }
                    }
                    *out++ = sum;
                }
            }
        }
    }
    return 0;
}

static int pool(const planner_call *call, int is_max)
{
    const planner_tensor *x = call->node->inputs[0], *y = call->node->outputs[0];
    const float *in = (const float *)call->inputs[0];
    float *out = (float *)call->outputs[0];
    size_t high = option(call, "kernel_shape", 0, dimension(x, 2));
    size_t wide = option(call, "kernel_shape", 1, dimension(x, 3));
    size_t plane, i, j, k, l;
    for (plane = 0; plane < dimension(x, 0) * dimension(x, 1); plane++) {
        for (i = 0; i < dimension(y, 2); i++) {
            for (j = 0; j < dimension(y, 3); j++) {
                float best = -HUGE_VALF, sum = 0.0f;
                size_t count = 0;
                for (k = 0; k < high; k++) {
                    for (l = 0; l < wide; l++) {
                        long a = tap(call, 0, i, k, dimension(x, 2));
                        long b = tap(call, 1, j, l, dimension(x, 3));
                        if (a >= 0 && b >= 0) {
                            float value = in[(plane * dimension(x, 2) + (size_t)a)
                                                 * dimension(x, 3)
                                             + (size_t)b];
                            best = value > best ? value : best;
                            sum += value;
                            count++;
                        }
                    }
                }
                *out++ = is_max ? best : sum / (float)count;
            }
        }
    }
    return 0;
}

static inline int max_pool(const planner_call *call)
{
    return pool(call, 1);
}

static inline int average_pool(const planner_call *call)
{
    return pool(call, 0);
}

static inline int relu(const planner_call *call)
{
    const float *in = (const float *)call->inputs[0];
    float *out = (float *)call->outputs[0];
    size_t i;
    for (i = 0; i < elements(call->node->outputs[0]); i++) {
        out[i] = in[i] > 0.0f ? in[i] : 0.0f;
    }
    return 0;
}

static inline int add(const planner_call *call)
{
    const float *a = (const float *)call->inputs[0], *b = (const float *)call->inputs[1];
    float *out = (float *)call->outputs[0];
    size_t i;
    for (i = 0; i < elements(call->node->outputs[0]); i++) {
        out[i] = a[i] + b[i];
    }
    return 0;
}

static inline int gemm(const planner_call *call)
{
    const planner_tensor *y = call->node->outputs[0];
    const float *a = (const float *)call->inputs[0], *b = (const float *)call->inputs[1];
    const float *c = call->node->input_count > 2 ? (const float *)call->inputs[2] : NULL;
    float *out = (float *)call->outputs[0];
    float alpha = planner_real(call->node, "alpha", 0, 1.0f);
    float beta = planner_real(call->node, "beta", 0, 1.0f);
    size_t rows = dimension(y, 0), columns = dimension(y, 1);
    size_t inner = elements(call->node->inputs[0]) / rows, i, j, k;
    for (i = 0; i < rows; i++) {
        for (j = 0; j < columns; j++) {
            float sum = 0.0f;
            for (k = 0; k < inner; k++) {
                float right = option(call, "transB", 0, 0) ? b[j * inner + k] : b[k * columns + j];
                sum += a[i * inner + k] * right;
            }
            out[i * columns + j] = alpha * sum + (c == NULL ? 0.0f : beta * c[j]);
        }
    }
    return 0;
}

/* Over the last axis. */
static inline int softmax(const planner_call *call)
{
    const planner_tensor *x = call->node->inputs[0];
    const float *in = (const float *)call->inputs[0];
    float *out = (float *)call->outputs[0];
    size_t width = dimension(x, x->rank - 1), row, i;
    for (row = 0; row < elements(x); row += width) {
        float most = in[row], sum = 0.0f;
        for (i = row; i < row + width; i++) {
            most = in[i] > most ? in[i] : most;
        }
        for (i = row; i < row + width; i++) {
            out[i] = expf(in[i] - most);
            sum += out[i];
        }
        for (i = row; i < row + width; i++) {
            out[i] /= sum;
        }
    }
    return 0;
}

/* Over the second axis of one image. */
static inline int concat(const planner_call *call)
{
    float *out = (float *)call->outputs[0];
    size_t at, i;
    for (at = 0; at < call->node->input_count; at++) {
        for (i = 0; i < elements(call->node->inputs[at]); i++) {
            *out++ = ((const float *)call->inputs[at])[i];
        }
    }
    return 0;
}
