/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Jobs (spec 70 sections 13 and 15): work in a thread of its own, whose state clients see in
 * query-jobs and JOB_STATUS_CHANGE. A job that has ended stays until job-dismiss.
 *
 * Main thread, big lock, unless stated.
 */
#ifndef GODWIT_MONITOR_JOBS_H
#define GODWIT_MONITOR_JOBS_H

#include "monitor/monitor.h"
#include "qapi-types-job.h"

typedef struct JobList JobList;

typedef struct {
    /* The work; in the job's thread, big lock held (and released while it waits). */
    bool (*run)(void *opaque, GError **errp);
    /* Make run() end soon. NULL: it cannot be cancelled. */
    void (*cancel)(void *opaque);
    void (*destroy)(void *opaque);
} JobOps;

JobList *monitor_hub_jobs(MonitorHub *hub);
/* Start a job. Takes @opaque, on failure too (*errp: bad or used @id). */
bool job_start(JobList *jobs, const char *id, JobType type, const JobOps *ops, void *opaque,
               GError **errp);
/* The process ends: cancel what can be, and wait for all. */
void jobs_end(JobList *jobs);

/* ---- for the hub ---- */
JobList *job_list_new(MonitorHub *hub);
/* After jobs_end(). */
void job_list_free(JobList *jobs);

#endif
