/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A skip says why and what would be needed: tests/run pairs these lines with the tests that cmocka
 * reports as skipped. To be included after <cmocka.h>.
 */
#pragma once

#define skip_because(...)                                                                          \
	do {                                                                                       \
		print_message("skipped: " __VA_ARGS__);                                            \
		print_message("\n");                                                               \
		skip();                                                                            \
	} while (0)
