/* SPDX-License-Identifier: Apache-2.0 */
/* What libbpf and the verifier said, kept until somebody makes it part of a reason. */
#pragma once

/* From now on libbpf's messages go to the log at level debug, and the telling ones are kept. */
void libbpf_words_take(void);
