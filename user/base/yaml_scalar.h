/* SPDX-License-Identifier: Apache-2.0 */
/* What an unquoted scalar means: shared by YAML's reader and its writer, which must agree. */
#pragma once

enum scalar_kind {
	SCALAR_STRING,
	SCALAR_NULL,
	SCALAR_TRUE,
	SCALAR_FALSE,
	SCALAR_DECIMAL, /* with or without decimals and exponent */
	SCALAR_HEXADECIMAL,
	SCALAR_OCTAL,
	SCALAR_NOT_FINITE, /* .inf, .nan: no JSON value */
};

/* By the core schema of YAML 1.2 (chapter 10.3.2). */
enum scalar_kind yaml_scalar_kind(const char *text);
