/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Abnormals that a person or a program makes: `lifeboat apply`, or POST to the API. They come in
 * through the API, which hands them to the pipeline as they are.
 */
#include "sources/source.h"

SOURCE(custom) = {
	.name = "custom",
	.summary =
		"Abnormals made by hand or by other programs, through `lifeboat apply` and the API",
	.kind = SOURCE_CUSTOM,
};
