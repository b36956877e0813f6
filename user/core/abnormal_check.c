/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of an Abnormal's fields and of the relations between them. */
#include "core/abnormal_check.h"

#include <ctype.h>

#include "core/abnormal.h"

#define NAME_MAX_LENGTH 253
#define LABEL_MAX_LENGTH 63

static bool is_lower_alphanumeric(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_alphanumeric(char c)
{
	return isalnum((unsigned char)c) && (unsigned char)c < 0x80;
}

/* An RFC 1123 label: [a-z0-9]([-a-z0-9]*[a-z0-9])?, of LENGTH characters. */
static bool is_dns_label(const char *text, size_t length)
{
	if (!length || length > LABEL_MAX_LENGTH || text[0] == '-' || text[length - 1] == '-')
		return false;
	for (size_t i = 0; i < length; i++)
		if (!is_lower_alphanumeric(text[i]) && text[i] != '-')
			return false;
	return true;
}

/* Labels joined by dots. Kubernetes bounds the whole alone, not each label. */
static bool is_dns_subdomain(const char *text, size_t length)
{
	if (!length || length > NAME_MAX_LENGTH)
		return false;
	for (size_t i = 0; i < length; i++) {
		bool edge = i == 0 || i == length - 1 || text[i - 1] == '.' || text[i + 1] == '.';

		if (!is_lower_alphanumeric(text[i]) && (edge || (text[i] != '-' && text[i] != '.')))
			return false;
	}
	return true;
}

int check_object_name(const void *value, struct problem *problem)
{
	const char *name = *(char *const *)value;

	if (is_dns_subdomain(name, strlen(name)))
		return 0;
	return problem_set(
		problem, -EINVAL, NULL,
		"\"%.80s\" is not a name: at most 253 of a-z, 0-9, '-' and '.', with a letter or "
		"digit at each end",
		name);
}

int check_namespace(const void *value, struct problem *problem)
{
	const char *name = *(char *const *)value;

	if (is_dns_label(name, strlen(name)))
		return 0;
	return problem_set(problem, -EINVAL, NULL,
			   "\"%.80s\" is not a namespace: at most 63 of a-z, 0-9 and '-', with a "
			   "letter or digit at each end",
			   name);
}

int check_word(const void *value, struct problem *problem)
{
	const char *word = *(char *const *)value;
	size_t length = strlen(word);
	bool good = length > 0 && length <= NAME_MAX_LENGTH && word[0] != '.' && word[0] != '-';

	for (size_t i = 0; i < length; i++)
		good = good && (is_alphanumeric(word[i]) || strchr("-_.:@", word[i]));
	if (good)
		return 0;
	return problem_set(problem, -EINVAL, NULL,
			   "\"%.80s\" is not a name: at most 253 letters, digits and -_.:@, not "
			   "starting with '.' or '-'",
			   word);
}

/* [A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?, at most 63 characters. */
static bool is_qualified_part(const char *text)
{
	size_t length = strlen(text);

	if (!length || length > LABEL_MAX_LENGTH || !is_alphanumeric(text[0]) ||
	    !is_alphanumeric(text[length - 1]))
		return false;
	for (size_t i = 0; i < length; i++)
		if (!is_alphanumeric(text[i]) && !strchr("-_.", text[i]))
			return false;
	return true;
}

/* The key of a label or annotation: a name, or DNS-SUBDOMAIN/NAME. */
static int check_key(const char *key, struct problem *problem)
{
	const char *slash = strchr(key, '/');

	if (is_qualified_part(slash ? slash + 1 : key) &&
	    (!slash || is_dns_subdomain(key, (size_t)(slash - key))))
		return 0;
	return problem_set(
		problem, -EINVAL, NULL,
		"\"%.80s\" is not a key: [DOMAIN/]NAME, NAME at most 63 letters, digits and -_.",
		key);
}

int check_labels(const void *value, struct problem *problem)
{
	const cJSON *label;

	cJSON_ArrayForEach (label, *(cJSON *const *)value) {
		int r = check_key(label->string, problem);

		if (r < 0)
			return r;
		if (*label->valuestring && !is_qualified_part(label->valuestring))
			return problem_set(problem, -EINVAL, label->string,
					   "\"%.80s\" is not the value of a label: at most 63 "
					   "letters, digits and -_., with a letter or digit at "
					   "each end",
					   label->valuestring);
	}
	return 0;
}

int check_annotations(const void *value, struct problem *problem)
{
	const cJSON *annotation;
	int r = 0;

	cJSON_ArrayForEach (annotation, *(cJSON *const *)value) {
		r = check_key(annotation->string, problem);
		if (r < 0)
			break;
	}
	return r;
}

int check_absolute_path(const void *value, struct problem *problem)
{
	const char *path = *(char *const *)value;

	if (path[0] == '/')
		return 0;
	return problem_set(problem, -EINVAL, NULL, "must be an absolute path, not \"%.80s\"", path);
}

/*
 * The name of a port (RFC 6335, as Kubernetes has it): at most 15 of a-z, 0-9 and '-', one of them
 * a letter.
 */
static bool is_port_name(const char *text)
{
	bool letter = false;

	for (const char *c = text; *c; c++)
		letter = letter || (*c >= 'a' && *c <= 'z');
	return letter && strlen(text) <= 15 && is_dns_label(text, strlen(text)) &&
	       !strstr(text, "--");
}

int check_port(const void *value, struct problem *problem)
{
	const cJSON *port = *(cJSON *const *)value;

	if (cJSON_IsNumber(port) && port->valuedouble >= 1 && port->valuedouble <= 65535 &&
	    (double)(int)port->valuedouble == port->valuedouble)
		return 0;
	if (cJSON_IsString(port) && is_port_name(port->valuestring))
		return 0;
	return problem_set(problem, -EINVAL, NULL,
			   "must be a number from 1 to 65535 or the name of a port (at most 15 of "
			   "a-z, 0-9 and '-')");
}

int check_http_path(const void *value, struct problem *problem)
{
	const char *path = *(char *const *)value;

	for (const char *c = path; *c; c++)
		if ((unsigned char)*c <= ' ' || *c == 0x7f)
			return problem_set(problem, -EINVAL, NULL,
					   "may not hold white space or control characters; write "
					   "them as %%XX");
	return 0;
}

int check_http_header_name(const void *value, struct problem *problem)
{
	const char *name = *(char *const *)value;

	/* token of RFC 9110, 5.6.2 */
	for (const char *c = name; *c; c++)
		if (!is_alphanumeric(*c) && !strchr("!#$%&'*+-.^_`|~", *c))
			return problem_set(problem, -EINVAL, NULL,
					   "\"%.80s\" is not the name of an HTTP header", name);
	return 0;
}

int check_command(const void *value, struct problem *problem)
{
	const struct strings *command = value;

	if (command->count && *command->items[0])
		return 0;
	return problem_set(problem, -EINVAL, NULL, "must name a program");
}

static int check_one_action(const struct exec_action *exec, const struct http_get_action *http_get,
			    const struct tcp_socket_action *tcp_socket, struct problem *problem)
{
	int count = !!exec + !!http_get + !!tcp_socket;

	if (count == 1)
		return 0;
	return problem_set(problem, -EINVAL, NULL,
			   "must have exactly one of exec, httpGet and tcpSocket, not %s",
			   count ? "more" : "none");
}

int check_node_probe(const void *object, struct problem *problem)
{
	const struct node_probe *probe = object;

	return check_one_action(probe->exec, probe->http_get, probe->tcp_socket, problem);
}

int check_pod_probe(const void *object, struct problem *problem)
{
	const struct pod_probe *probe = object;

	return check_one_action(probe->exec, probe->http_get, probe->tcp_socket, problem);
}

static int require_block(const struct abnormal_spec *spec, const void *block, const char *field,
			 struct problem *problem)
{
	if (block)
		return 0;
	return problem_set(problem, -EINVAL, field, "is required when source is %s",
			   abnormal_source_names[spec->source]);
}

int check_spec(const void *object, struct problem *problem)
{
	const struct abnormal_spec *spec = object;

	switch ((enum abnormal_source)spec->source) {
	case SOURCE_KERNEL_EVENT:
		return require_block(spec, spec->kernel_event, "kernelEvent", problem);
	case SOURCE_LOG:
		return require_block(spec, spec->log, "log", problem);
	case SOURCE_KUBERNETES_EVENT:
		return require_block(spec, spec->kubernetes_event, "kubernetesEvent", problem);
	case SOURCE_PROMETHEUS_ALERT:
		return require_block(spec, spec->prometheus_alert, "prometheusAlert", problem);
	case SOURCE_PROBE:
		if (!spec->node_probe == !spec->pod_probe)
			return problem_set(problem, -EINVAL, NULL,
					   "must have exactly one of nodeProbe and podProbe when "
					   "source is Probe, not %s",
					   spec->node_probe ? "both" : "none");
		return 0;
	case SOURCE_CUSTOM:
	case SOURCE_NONE:
		return 0;
	}
	return 0;
}

int check_abnormal(const void *object, struct problem *problem)
{
	const struct abnormal *abnormal = object;

	if (!streq(abnormal->api_version, ABNORMAL_API_VERSION))
		return problem_set(problem, -EINVAL, "apiVersion", "must be \"%s\", not \"%.80s\"",
				   ABNORMAL_API_VERSION, abnormal->api_version);
	if (!streq(abnormal->kind, ABNORMAL_KIND))
		return problem_set(problem, -EINVAL, "kind", "must be \"%s\", not \"%.80s\"",
				   ABNORMAL_KIND, abnormal->kind);
	return 0;
}
