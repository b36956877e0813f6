/* SPDX-License-Identifier: Apache-2.0 */
/* Label selectors: parsing and matching. */
#include "cli/selector.h"

#include <errno.h>

#include "base/schema.h"

enum relation { IN, NOT_IN, EXISTS, ABSENT };

#define REQUIREMENTS_MAX 64

struct requirement {
	char *label;
	enum relation relation;
	struct strings values;
};

struct selector {
	struct requirement requirements[REQUIREMENTS_MAX];
	size_t count;
};

void selector_free(struct selector *selector)
{
	if (!selector)
		return;
	for (size_t i = 0; i < selector->count; i++) {
		struct requirement *requirement = &selector->requirements[i];

		free(requirement->label);
		for (size_t j = 0; j < requirement->values.count; j++)
			free(requirement->values.items[j]);
		free(requirement->values.items);
	}
	free(selector);
}

static const char *skip_spaces(const char *text)
{
	return text + strspn(text, " \t");
}

/* A word up to white space or one of the signs; ret_word is the caller's. */
static int take_word(const char **text, char **ret_word)
{
	size_t length = strcspn(*text, " \t,=!()");
	char *word = strndup(*text, length);

	if (!word)
		return -ENOMEM;
	*text = skip_spaces(*text + length);
	*ret_word = word;
	return 0;
}

static int take_value(const char **text, struct requirement *requirement)
{
	_cleanup_free_ char *value = NULL;

	int r = take_word(text, &value);
	return r < 0 ? r : strings_append(&requirement->values, value);
}

/* "(a, b)" */
static int take_values(const char **text, struct requirement *requirement, struct problem *problem)
{
	if (**text != '(')
		return problem_set(problem, -EINVAL, NULL,
				   "expects ( after in and notin, at \"%.32s\"", *text);
	do {
		*text = skip_spaces(*text + 1);
		int r = take_value(text, requirement);
		if (r < 0)
			return r;
	} while (**text == ',');
	if (**text != ')')
		return problem_set(problem, -EINVAL, NULL, "expects ) at \"%.32s\"", *text);
	*text = skip_spaces(*text + 1);
	return 0;
}

static int take_relation(const char **text, struct requirement *requirement,
			 struct problem *problem)
{
	const char *rest;

	if ((rest = startswith(*text, "!=")) || (rest = startswith(*text, "==")) ||
	    (rest = startswith(*text, "="))) {
		requirement->relation = **text == '!' ? NOT_IN : IN;
		*text = skip_spaces(rest);
		return take_value(text, requirement);
	}
	if ((rest = startswith(*text, "notin")) || (rest = startswith(*text, "in"))) {
		requirement->relation = **text == 'n' ? NOT_IN : IN;
		*text = skip_spaces(rest);
		return take_values(text, requirement, problem);
	}
	requirement->relation = EXISTS;
	return 0;
}

int selector_parse(const char *text, struct selector **ret_selector, struct problem *problem)
{
	_cleanup_(selector_freep) struct selector *selector = calloc(1, sizeof(*selector));

	if (!selector)
		return -ENOMEM;
	for (text = skip_spaces(text); *text;) {
		struct requirement *requirement = &selector->requirements[selector->count];
		bool absent = *text == '!';

		if (selector->count == REQUIREMENTS_MAX)
			return problem_set(problem, -EINVAL, NULL, "has more than %d requirements",
					   REQUIREMENTS_MAX);
		selector->count++;
		text = skip_spaces(text + absent);
		int r = take_word(&text, &requirement->label);
		if (r < 0)
			return r;
		if (!*requirement->label)
			return problem_set(problem, -EINVAL, NULL, "expects a label at \"%.32s\"",
					   text);
		requirement->relation = ABSENT;
		r = absent ? 0 : take_relation(&text, requirement, problem);
		if (r < 0)
			return r;
		if (*text && *text != ',')
			return problem_set(problem, -EINVAL, NULL, "expects a comma at \"%.32s\"",
					   text);
		text = skip_spaces(text + (*text == ','));
	}
	*ret_selector = TAKE_PTR(selector);
	return 0;
}

/* As in Kubernetes, != and notin fit also what lacks the label. */
static bool requirement_matches(const struct requirement *requirement, const char *value)
{
	switch (requirement->relation) {
	case IN:
		return value && strings_contain(&requirement->values, value);
	case NOT_IN:
		return !value || !strings_contain(&requirement->values, value);
	case EXISTS:
		return value;
	default:
		return !value;
	}
}

bool selector_matches(const struct selector *selector, const cJSON *labels)
{
	for (size_t i = 0; selector && i < selector->count; i++)
		if (!requirement_matches(&selector->requirements[i],
					 json_string(labels, selector->requirements[i].label)))
			return false;
	return true;
}
