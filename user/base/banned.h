/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Functions that no file here may call, because a better one stands in base/ or in libc. The
 * compiler is told to include this file before every other (see the Makefile), after the libc
 * headers that declare them.
 */
#pragma once

#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#undef alloca
#pragma GCC poison strcpy strcat sprintf vsprintf strtok atoi atol atoll gets alloca
#pragma GCC poison system popen mktemp tmpnam strncpy asctime ctime localtime gmtime
