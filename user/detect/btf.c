/* SPDX-License-Identifier: Apache-2.0 */
/* What a kernel offers, read from its BTF: tracepoints, functions, iterators, members. */
#include "detect/detector.h"

/* struct → anonymous union → anonymous struct …: as deep as the kernel nests them, and some. */
#define ANONYMOUS_DEPTH_MAX 8

/*
 * The function prototype of a tracepoint's probes, or NULL; parameter 0 is the probe's own void *.
 */
static const struct btf_type *tracepoint_prototype(const struct btf *btf, const char *name)
{
	char type_name[128];

	snprintf(type_name, sizeof(type_name), "btf_trace_%s", name);
	int id = btf__find_by_name_kind(btf, type_name, BTF_KIND_TYPEDEF);

	if (id < 0)
		return NULL;
	const struct btf_type *type =
		btf__type_by_id(btf, btf__type_by_id(btf, (uint32_t)id)->type);

	if (!type || !btf_is_ptr(type))
		return NULL;
	type = btf__type_by_id(btf, type->type);
	return type && btf_is_func_proto(type) && btf_vlen(type) > 0 ? type : NULL;
}

/* The type behind typedefs, const and volatile, or NULL. */
static const struct btf_type *type_behind(const struct btf *btf, uint32_t id)
{
	const struct btf_type *type = btf__type_by_id(btf, id);

	while (type && (btf_is_mod(type) || btf_is_typedef(type)))
		type = btf__type_by_id(btf, type->type);
	return type;
}

int btf_tracepoint_arguments(const struct btf *btf, const char *name)
{
	const struct btf_type *prototype = tracepoint_prototype(btf, name);

	return prototype ? btf_vlen(prototype) - 1 : -ENOENT;
}

bool btf_tracepoint_argument_is(const struct btf *btf, const char *name, int index,
				const char *type_name)
{
	const struct btf_type *prototype = tracepoint_prototype(btf, name);

	if (!prototype || index < 0 || index + 1 >= btf_vlen(prototype))
		return false;
	const struct btf_type *type = type_behind(btf, btf_params(prototype)[index + 1].type);

	if (!type || !btf_is_ptr(type))
		return false;
	type = type_behind(btf, type->type);
	return type && btf_is_struct(type) &&
	       streq(btf__name_by_offset(btf, type->name_off), type_name);
}

bool btf_has_function(const struct btf *btf, const char *name)
{
	return btf__find_by_name_kind(btf, name, BTF_KIND_FUNC) > 0;
}

bool btf_has_iterator(const struct btf *btf, const char *target)
{
	char name[128];

	/* What libbpf looks for when it loads SEC("iter/TARGET"). */
	snprintf(name, sizeof(name), "bpf_iter_%s", target);
	return btf_has_function(btf, name);
}

static bool type_has_member(const struct btf *btf, const struct btf_type *type, const char *name,
			    unsigned depth)
{
	if (!type || !btf_is_composite(type) || depth > ANONYMOUS_DEPTH_MAX)
		return false;
	const struct btf_member *members = btf_members(type);

	for (unsigned i = 0; i < btf_vlen(type); i++) {
		const char *member = btf__name_by_offset(btf, members[i].name_off);

		if (member && streq(member, name))
			return true;
		if ((!member || !*member) &&
		    type_has_member(btf, type_behind(btf, members[i].type), name, depth + 1))
			return true;
	}
	return false;
}

bool btf_has_member(const struct btf *btf, const char *type_name, const char *member)
{
	int id = btf__find_by_name_kind(btf, type_name, BTF_KIND_STRUCT);

	return id > 0 && type_has_member(btf, btf__type_by_id(btf, (uint32_t)id), member, 0);
}
