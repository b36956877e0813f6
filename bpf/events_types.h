/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* events.h for user space, where the kernel's integer names come from <linux/types.h>. */
#pragma once

#include <linux/types.h>

#include "events.h"
