/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The routes that work with Abnormals: reading, submitting, deleting, and running one plug-in on
 * one.
 */
#pragma once

#include "api/internal.h"

void abnormals_list(struct request *request);
void abnormal_get(struct request *request);
void abnormal_history(struct request *request);
void abnormal_delete(struct request *request);
void abnormal_submit(struct request *request);
void collector_run(struct request *request);
void diagnoser_run(struct request *request);
void recoverer_run(struct request *request);
