/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What storm.bpf.c and storm.c share. */
#pragma once

#define STORM_BATCH 500
#define STORM_DEVICES 20
#define STORM_LINE_SIZE 32
