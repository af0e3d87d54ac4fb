static void *@name@_address(const @name@_instance *instance, @name@_place place)
{
    if (place.memory >= @NAME@_MEMORY_COUNT) {
        return NULL;
    }
    return instance->memory[place.memory] + place.offset;
}

static const void *@name@_readable(const @name@_instance *instance, @name@_place place)
{
    if (place.memory == @NAME@_CONSTANT) {
        return instance->constants[place.offset];
    }
    if (place.memory == @NAME@_VALUE) {
        return @name@_values[place.offset];
    }
    return @name@_address(instance, place);
}

void *@name@_input(const @name@_instance *instance, size_t input)
{
    return @name@_address(instance, @name@_input_places[input]);
}

const void *@name@_output(const @name@_instance *instance, size_t output)
{
    return @name@_readable(instance, @name@_output_places[output]);
}

static int @name@_call_operator(const @name@_instance *instance, size_t number)
{
    const @name@_operator *found = &@name@_operators[number];
    const @name@_place *places = &@name@_places[found->first_place];
    const void *inputs[@NAME@_MOST_INPUTS];
    void *outputs[@NAME@_MOST_OUTPUTS];
    planner_call call;
    size_t at;
    for (at = 0; at < found->node.input_count; at++) {
        inputs[at] = @name@_readable(instance, *places++);
    }
    for (at = 0; at < found->node.output_count; at++) {
        outputs[at] = @name@_address(instance, *places++);
    }
    call.node = &found->node;
    call.inputs = inputs;
    call.outputs = outputs;
    call.workspace = found->node.workspace_bytes != 0 ? @name@_address(instance, *places) : NULL;
    call.user = instance->user;
    return found->function(&call);
}

/* Like memmove: the two may overlap. */
static void @name@_move(const @name@_instance *instance, void *destination, const void *source,
                        size_t bytes)
{
    unsigned char *to = (unsigned char *)destination;
    const unsigned char *from = (const unsigned char *)source;
    size_t at;
    if (instance->move != NULL) {
        instance->move(destination, source, bytes);
    } else if (to < from) {
        for (at = 0; at < bytes; at++) {
            to[at] = from[at];
        }
    } else {
        for (at = bytes; at > 0; at--) {
            to[at - 1] = from[at - 1];
        }
    }
}

static planner_copy @name@_resolved_copy(const @name@_instance *instance, size_t number)
{
    const @name@_transfer *found = &@name@_transfers[number];
    planner_copy copy;
    copy.number = number;
    copy.source_memory = found->source.memory;
    copy.destination_memory = found->destination.memory;
    copy.source = @name@_address(instance, found->source);
    copy.destination = @name@_address(instance, found->destination);
    copy.bytes = found->bytes;
    return copy;
}

static void @name@_begin_copy(const @name@_instance *instance, size_t number)
{
    planner_copy copy = @name@_resolved_copy(instance, number);
    if (instance->copy_begin != NULL) {
        instance->copy_begin(instance->user, &copy);
    } else {
        @name@_move(instance, copy.destination, copy.source, copy.bytes);
    }
}

static void @name@_end_copy(const @name@_instance *instance, size_t number)
{
    planner_copy copy = @name@_resolved_copy(instance, number);
    if (instance->copy_end != NULL) {
        instance->copy_end(instance->user, &copy);
    }
}

#ifdef @NAME@_POISON
static void @name@_release(const @name@_instance *instance, size_t number)
{
    const @name@_released *found = &@name@_releases[number];
    unsigned char *bytes = (unsigned char *)@name@_address(instance, found->place);
    size_t at;
    for (at = 0; at < found->bytes; at++) {
        bytes[at] = (unsigned char)(@NAME@_POISON);
    }
}
#endif

int @name@_run(const @name@_instance *instance)
{
    size_t at;
    for (at = 0; at < @NAME@_MEMORY_COUNT; at++) {
        if (instance->memory[at] == NULL
            || (uintptr_t)instance->memory[at] % @name@_alignments[at] != 0) {
            return PLANNER_BAD_ARENA;
        }
    }
    for (at = 0; @name@_schedule[at].action != @NAME@_DONE; at++) {
        size_t number = @name@_schedule[at].number;
        int status;
        switch (@name@_schedule[at].action) {
        case @NAME@_CALL:
            status = @name@_call_operator(instance, number);
            if (status != 0) {
                return status;
            }
            break;
        case @NAME@_BEGIN:
            @name@_begin_copy(instance, number);
            break;
        case @NAME@_END:
            @name@_end_copy(instance, number);
            break;
        case @NAME@_MOVE: {
            planner_copy copy = @name@_resolved_copy(instance, number);
            @name@_move(instance, copy.destination, copy.source, copy.bytes);
            break;
        }
#ifdef @NAME@_POISON
        case @NAME@_RELEASE:
            @name@_release(instance, number);
            break;
#endif
        default:
            break;
        }
    }
    return 0;
}
