/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 *   created -> running -> waiting -> pending -> concluded -> null
 *                  \----------- aborting ----------/
 *
 * Nothing here waits to be finalized, so from waiting on the steps follow each other at once; they
 * are told because clients of QEMU wait for them.
 */
#include "monitor/commands.h"
#include "monitor/jobs.h"
#include "qapi-commands-job.h"
#include "qapi-events-job.h"
#include "util/lock.h"

typedef struct {
    JobList *list;
    char *id;
    JobType type;
    JobStatus status;
    const JobOps *ops;
    void *opaque;
    GThread *thread; /* NULL: has ended */
    GSource *ended;  /* its thread attaches it as its last act */
    GError *error;   /* the thread's until it has ended */
} Job;

struct JobList {
    MonitorHub *hub;
    GPtrArray *jobs; /* Job, oldest first */
};

static void job_free(gpointer opaque)
{
    Job *j = opaque;

    g_source_destroy(j->ended);
    g_source_unref(j->ended);
    j->ops->destroy(j->opaque);
    g_clear_error(&j->error);
    g_free(j->id);
    g_free(j);
}

JobList *job_list_new(MonitorHub *hub)
{
    JobList *list = g_new0(JobList, 1);

    list->hub = hub;
    list->jobs = g_ptr_array_new_with_free_func(job_free);
    return list;
}

void job_list_free(JobList *list)
{
    g_ptr_array_unref(list->jobs);
    g_free(list);
}

static void set_status(Job *j, JobStatus status)
{
    QapiEventSink events = monitor_hub_event_sink(j->list->hub);

    j->status = status;
    qapi_event_send_job_status_change(&events, j->id, status);
}

static void join(Job *j)
{
    bql_unlock(); /* it may be waiting for that */
    g_thread_join(g_steal_pointer(&j->thread));
    bql_lock();
}

static gboolean conclude(gpointer opaque)
{
    Job *j = opaque;

    join(j);
    if (j->error) {
        set_status(j, JOB_STATUS_ABORTING);
    } else {
        set_status(j, JOB_STATUS_WAITING);
        set_status(j, JOB_STATUS_PENDING);
    }
    set_status(j, JOB_STATUS_CONCLUDED);
    return G_SOURCE_REMOVE;
}

static gpointer job_thread(gpointer opaque)
{
    Job *j = opaque;

    bql_lock();
    j->ops->run(j->opaque, &j->error);
    bql_unlock();
    g_source_attach(j->ended, NULL);
    return NULL;
}

static Job *find(const JobList *list, const char *id)
{
    for (guint i = 0; i < list->jobs->len; i++) {
        Job *j = g_ptr_array_index(list->jobs, i);

        if (g_str_equal(j->id, id)) {
            return j;
        }
    }
    return NULL;
}

/* A letter, then letters, digits, '-', '.', '_'. */
static bool id_is_valid(const char *id)
{
    return g_ascii_isalpha(id[0]) &&
           strspn(id, G_CSET_a_2_z G_CSET_A_2_Z G_CSET_DIGITS "-._") == strlen(id);
}

bool job_start(JobList *list, const char *id, JobType type, const JobOps *ops, void *opaque,
               GError **errp)
{
    Job *j;

    if (!id_is_valid(id) || find(list, id)) {
        if (find(list, id)) {
            error_setg(errp, "Job ID '%s' already in use", id);
        } else {
            error_setg(errp, "Invalid job ID '%s'", id);
        }
        ops->destroy(opaque);
        return false;
    }
    j = g_new0(Job, 1);
    j->list = list;
    j->id = g_strdup(id);
    j->type = type;
    j->ops = ops;
    j->opaque = opaque;
    j->ended = g_idle_source_new();
    g_source_set_priority(j->ended, G_PRIORITY_DEFAULT);
    g_source_set_callback(j->ended, conclude, j, NULL);
    set_status(j, JOB_STATUS_CREATED);
    j->thread = g_thread_try_new("job", job_thread, j, errp);
    if (!j->thread) {
        set_status(j, JOB_STATUS_NULL);
        job_free(j);
        return false;
    }
    set_status(j, JOB_STATUS_RUNNING); /* it waits for the lock we hold */
    g_ptr_array_add(list->jobs, j);
    return true;
}

void jobs_end(JobList *list)
{
    for (guint i = 0; i < list->jobs->len; i++) {
        Job *j = g_ptr_array_index(list->jobs, i);

        if (j->thread && j->ops->cancel) {
            j->ops->cancel(j->opaque);
        }
        if (j->thread) {
            join(j);
        }
        g_source_destroy(j->ended);
    }
}

/* ---- commands ---- */

GPtrArray *qmp_query_jobs(QmpCall *call, GError **errp)
{
    JobList *list = monitor_hub_jobs(call->opaque);
    GPtrArray *infos = qapi_list_new_JobInfo();

    for (guint i = 0; i < list->jobs->len; i++) {
        const Job *j = g_ptr_array_index(list->jobs, i);
        JobInfo *info = g_new0(JobInfo, 1);

        info->id = g_strdup(j->id);
        info->type = j->type;
        info->status = j->status;
        info->total_progress = 1;
        info->current_progress = j->status == JOB_STATUS_CONCLUDED;
        info->error =
            j->status == JOB_STATUS_CONCLUDED && j->error ? g_strdup(j->error->message) : NULL;
        g_ptr_array_add(infos, info);
    }
    return infos;
}

/* The job @id if it takes @verb, which it does in status @status only (JOB_STATUS__MAX: never). */
static Job *job_for(QmpCall *call, const char *id, const char *verb, JobStatus status,
                    GError **errp)
{
    Job *j = find(monitor_hub_jobs(call->opaque), id);

    if (!j) {
        error_setg(errp, "Job not found");
    } else if (j->status != status) {
        error_setg(errp, "Job '%s' in state '%s' cannot accept command verb '%s'", id,
                   JobStatus_str(j->status), verb);
        j = NULL;
    }
    return j;
}

void qmp_job_cancel(QmpCall *call, const QmpArgs_job_cancel *args, GError **errp)
{
    Job *j = job_for(call, args->id, "cancel", JOB_STATUS_RUNNING, errp);

    if (j && j->ops->cancel) {
        j->ops->cancel(j->opaque);
    } else if (j) {
        error_setg(errp, "Job '%s' (%s) cannot be cancelled: it would leave half of its work",
                   args->id, JobType_str(j->type));
    }
}

void qmp_job_dismiss(QmpCall *call, const QmpArgs_job_dismiss *args, GError **errp)
{
    Job *j = job_for(call, args->id, "dismiss", JOB_STATUS_CONCLUDED, errp);

    if (j) {
        set_status(j, JOB_STATUS_NULL);
        g_ptr_array_remove(j->list->jobs, j);
    }
}

void qmp_job_pause(QmpCall *call, const QmpArgs_job_pause *args, GError **errp)
{
    job_for(call, args->id, "pause", JOB_STATUS__MAX, errp);
}

void qmp_job_resume(QmpCall *call, const QmpArgs_job_resume *args, GError **errp)
{
    job_for(call, args->id, "resume", JOB_STATUS__MAX, errp);
}

void qmp_job_complete(QmpCall *call, const QmpArgs_job_complete *args, GError **errp)
{
    job_for(call, args->id, "complete", JOB_STATUS__MAX, errp);
}

void qmp_job_finalize(QmpCall *call, const QmpArgs_job_finalize *args, GError **errp)
{
    job_for(call, args->id, "finalize", JOB_STATUS__MAX, errp);
}
