/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a field of an Abnormal may hold, beyond its type: the checks that the tables in
 * abnormal_schema.c name. Each takes the decoded value and fills PROBLEM, as schema.h says.
 */
#pragma once

#include "base/schema.h"

/* Kubernetes object name: RFC 1123 subdomain, at most 253 characters. */
int check_object_name(const void *value, struct problem *problem);
/* Kubernetes namespace: RFC 1123 label, at most 63 characters. */
int check_namespace(const void *value, struct problem *problem);
/* Name of a plug-in, detector or probe: one word that is safe in a path, at most 253 characters. */
int check_word(const void *value, struct problem *problem);
int check_labels(const void *value, struct problem *problem);
int check_annotations(const void *value, struct problem *problem);
int check_absolute_path(const void *value, struct problem *problem);
/* Port of a probe: 1 to 65535, or the name of a port. */
int check_port(const void *value, struct problem *problem);
int check_http_path(const void *value, struct problem *problem);
int check_http_header_name(const void *value, struct problem *problem);
int check_command(const void *value, struct problem *problem);

/* Relations between fields. */
int check_abnormal(const void *object, struct problem *problem);
int check_spec(const void *object, struct problem *problem);
int check_node_probe(const void *object, struct problem *problem);
int check_pod_probe(const void *object, struct problem *problem);
